"""Training of models: `alpha model train`. Needs the packages of the extra `train`.

| module | holds |
|---|---|
| config.py | what can be set about a training, from its TOML file |
| dataset.py | candles as rows of features and labels; the live replay that finds a leak |
| validation.py | purged walk-forward with embargo, nested choice of hyper-parameters |
| significance.py | AUC, log-loss, block bootstrap, labels permuted in blocks |
| simulate.py | what would have been traded on the scores |
| booster.py | LightGBM, deterministic |
| export.py | the trained model as ONNX, compared with itself |
| attempts.py | how often a model of this name was tried |
| train.py | all of it in order: from a configuration to an artefact |
| report.py | report.html |
| markets.py, proof.py | random walks and planted effects, and what training says of them |
"""
