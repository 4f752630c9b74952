"""Scores of trained models: the same code for training, the model server, a bot and a back-test.

| module | holds |
|---|---|
| features.py | the features a model may use, by name, and their schema hash |
| labels.py | what a trade would have earned: the labels of training, and of a score once it is ripe |
| manifest.py | what an artefact says about itself, and the check of its hash |
| refusals.py | why a model gives no score at a bar |
| drift.py | the population stability index of features against training |
| local.py | scores computed in this process, for back-tests (needs onnxruntime) |
"""
