"""LightGBM with settings under which the same rows give the same trees."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def fit(rows: NDArray[np.float32], target: Floats, chosen: Mapping[str, float], *, regression: bool, seed: int) -> Any:
    """A booster trained on these rows (float32, shape (n, features)); `target` is 0 or 1, or a net return."""
    import lightgbm

    parameters = {
        "objective": "regression" if regression else "binary",
        "num_leaves": int(chosen["num_leaves"]),
        "learning_rate": chosen["learning_rate"],
        "min_data_in_leaf": int(chosen["min_rows_in_leaf"]),
        "lambda_l2": chosen["l2"],
        "max_bin": 63,
        "feature_fraction": 0.8,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = lightgbm.Dataset(rows.astype(np.float64), target, params=parameters)
        return _with_exact_thresholds(lightgbm.train(parameters, data, int(chosen["rounds"])))


def _with_exact_thresholds(booster: Any) -> Any:
    """The same model with thresholds that float32 holds exactly.

    `x <= t` is the same for every float32 x if t is replaced by the largest float32 that is not above it. ONNX keeps
    thresholds as float32, rounded to the nearest: between two neighbouring values a row would take the other branch.
    """
    import lightgbm

    lines = []
    for line in booster.model_to_string().splitlines():
        if line.startswith("threshold="):
            exact = np.array(line.removeprefix("threshold=").split(), dtype=np.float64)
            near = exact.astype(np.float32)
            floor = np.where(near.astype(np.float64) > exact, np.nextafter(near, np.float32(-np.inf)), near)
            lines.append("threshold=" + " ".join(repr(float(value)) for value in floor))
        elif not line.startswith("tree_sizes="):  # sizes in bytes, which have changed; without them it is read in order
            lines.append(line)
    return lightgbm.Booster(model_str="\n".join(lines) + "\n")


def predict(booster: Any, rows: NDArray[np.float32]) -> Floats:
    """The scores of rows: a probability, or an expected net return."""
    found: Floats = booster.predict(rows.astype(np.float64), num_threads=1)
    return found


def gains(booster: Any) -> Floats:
    """The share of each feature in all gains of the trees."""
    found = np.asarray(booster.feature_importance("gain"), dtype=np.float64)
    total = found.sum()
    return found / total if total > 0 else found
