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
        return lightgbm.train(parameters, data, int(chosen["rounds"]))


def predict(booster: Any, rows: NDArray[np.float32]) -> Floats:
    """The scores of rows: a probability, or an expected net return."""
    found: Floats = booster.predict(rows.astype(np.float64), num_threads=1)
    return found


def gains(booster: Any) -> Floats:
    """The share of each feature in all gains of the trees."""
    found = np.asarray(booster.feature_importance("gain"), dtype=np.float64)
    total = found.sum()
    return found / total if total > 0 else found
