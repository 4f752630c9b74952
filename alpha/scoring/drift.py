"""Population stability index: how far the recent values of a feature are from those of training.

PSI = sum over bins of (a - e) x ln(a / e), with the shares a of recent and e of training values; the bins are the deciles
of training. Siddiqi, Credit Risk Scorecards (2006): above 0.1 changed, above 0.25 changed a lot. A window of few bars of a slow
feature lies far from training by chance alone, so the manifest holds what windows of the same length inside training
showed (their 95th percentile), and only what exceeds that counts.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from alpha.scoring.manifest import Scoreable

WARN = 0.1
STOP = 0.25
BINS = 10
_LEAST = 1e-4  # share of an empty bin


def deciles(values: NDArray[np.float32]) -> list[float]:
    """The nine inner deciles of a feature's values in training."""
    return [float(value) for value in np.quantile(values.astype(np.float64), np.arange(1, BINS) / BINS)]


def bins_of(values: NDArray[np.float32], edges: Sequence[float]) -> NDArray[np.int64]:
    """The bin (0 to 9) of each value."""
    return np.searchsorted(np.asarray(edges), values.astype(np.float64), side="right")


def expected_shares(values: NDArray[np.float32], edges: Sequence[float]) -> list[float]:
    """The share of training values in each bin: a tenth each, except where values repeat."""
    counts = np.bincount(bins_of(values, edges), minlength=BINS)
    return [float(share) for share in counts / max(1, len(values))]


def psi(shares: NDArray[np.float64], expected: Sequence[float]) -> NDArray[np.float64]:
    """The index of shares (shape (..., 10)) against the expected ones."""
    actual = np.maximum(shares, _LEAST)
    wanted = np.maximum(np.asarray(expected), _LEAST)
    result: NDArray[np.float64] = ((actual - wanted) * np.log(actual / wanted)).sum(axis=-1)
    return result


def rolling_psi(bins: NDArray[np.int64], expected: Sequence[float], window: int) -> NDArray[np.float64]:
    """The index over the last `window` bins at each place; NaN before there are as many."""
    result = np.full(len(bins), np.nan)
    if len(bins) < window:
        return result
    marks = np.zeros((len(bins) + 1, BINS))
    marks[1:] = np.cumsum(bins[:, None] == np.arange(BINS), axis=0)
    result[window - 1 :] = psi((marks[window:] - marks[:-window]) / window, expected)
    return result


def drift_of(manifest: Scoreable, symbol: str, rows: NDArray[np.float32]) -> NDArray[np.int64]:
    """For each row the feature that has drifted too far over the last `drift_bars` rows, -1 for none.

    Before there are as many rows with values, drift is not judged.
    """
    result = np.full(len(rows), -1, dtype=np.int64)
    worst = np.full(len(rows), STOP)
    for column, name in enumerate(manifest.features):
        expected = manifest.ranges[symbol][name]
        values = rows[:, column]
        index = rolling_psi(bins_of(values, expected.deciles), expected.shares, manifest.drift_bars)
        unknown = np.cumsum(np.isnan(values))
        window = manifest.drift_bars
        holes = unknown.copy()
        holes[window:] -= unknown[:-window]
        excess = np.where(holes > 0, np.nan, index - expected.noise)
        more = excess > worst
        result[more], worst[more] = column, excess[more]
    return result


def drift_text(manifest: Scoreable, symbol: str, place: int) -> str:
    """The reason that feature number `place` gives."""
    return f"drift: {manifest.features[place]} of {symbol} lies outside what {manifest.name} was trained on"
