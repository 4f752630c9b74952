"""Figures of scores against labels, and how sure they are. Everything resamples whole blocks of bars, all symbols together.

Labels of neighbouring bars overlap and features change slowly, so single rows are no independent evidence; blocks longer
than both are (Kuensch, The jackknife and the bootstrap for general stationary observations, 1989).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Scored:
    """Out-of-sample rows: their bar, fold and score, whether the label is above zero, and the probability for log-loss."""

    bar: Ints
    fold: Ints
    score: Floats
    positive: NDArray[np.bool_]


def auc(score: Floats, positive: NDArray[np.bool_], weight: Floats | None = None) -> float:
    """The area under the ROC curve: how often a row above zero has the higher score than one that is not; ties count half."""
    weights = np.ones(len(score)) if weight is None else weight
    order = np.argsort(score, kind="stable")
    s, good, w = score[order], positive[order], weights[order]
    return _auc_sorted(s, np.where(good, w, 0.0), np.where(good, 0.0, w))


def _auc_sorted(score: Floats, good: Floats, bad: Floats) -> float:
    starts = np.flatnonzero(np.concatenate(([True], score[1:] != score[:-1])))
    g, b = np.add.reduceat(good, starts), np.add.reduceat(bad, starts)
    below = np.cumsum(b) - b
    total = g.sum() * b.sum()
    return float((g * (below + 0.5 * b)).sum() / total) if total > 0 else 0.5


def ranks_by_fold(rows: Scored) -> Floats:
    """Each score's mid-rank inside its fold, 0 to 1: folds have models of their own, whose scores are not comparable."""
    result = np.empty(len(rows.score))
    for fold in np.unique(rows.fold).tolist():
        inside = np.flatnonzero(rows.fold == fold)
        score = rows.score[inside]
        _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
        upper = np.cumsum(counts)
        result[inside] = (upper - (counts - 1) / 2.0)[place] / len(inside)
    return result


def log_loss_rows(score: Floats, positive: NDArray[np.bool_]) -> Floats:
    """The log-loss of each row, for scores that are probabilities."""
    p = np.clip(score, 1e-6, 1.0 - 1e-6)
    return -np.where(positive, np.log(p), np.log(1.0 - p))


class Blocks:
    """Consecutive bars of the out-of-sample time, cut into blocks of equal length."""

    def __init__(self, bar: Ints, length: int) -> None:
        """`bar` of each row, ascending."""
        bars = np.unique(bar)
        self.length = length
        self.position = np.searchsorted(bars, bar)
        self.bars = len(bars)
        self.count = max(1, len(bars) // length)

    def draws(self, resamples: int, seed: int) -> NDArray[np.float32]:
        """How often each bar is drawn, per resample (shape (resamples, bars)): circular blocks, starts drawn evenly."""
        draw = np.random.default_rng(seed)
        needed = -(-self.bars // self.length)
        starts = draw.integers(0, self.bars, (resamples, needed))
        counts = np.zeros((resamples, 2 * self.bars + 1), dtype=np.int16)
        for column in range(needed):
            length = self.length if column < needed - 1 else self.bars - self.length * (needed - 1)
            np.add.at(counts, (np.arange(resamples), starts[:, column]), 1)
            np.add.at(counts, (np.arange(resamples), starts[:, column] + length), -1)
        running = np.cumsum(counts, axis=1, dtype=np.int16)[:, : 2 * self.bars]
        return (running[:, : self.bars] + running[:, self.bars :]).astype(np.float32)


def interval_of_auc(rows: Scored, blocks: Blocks, draws: NDArray[np.float32]) -> tuple[float, float, float]:
    """AUC over ranks inside the folds, with the bounds of its 95 per cent interval."""
    rank = ranks_by_fold(rows)
    order = np.argsort(rank, kind="stable")
    s, good, where = rank[order], rows.positive[order], blocks.position[order]
    found = np.empty(len(draws))
    for number, counts in enumerate(draws):
        w = counts[where].astype(np.float64)
        found[number] = _auc_sorted(s, np.where(good, w, 0.0), np.where(good, 0.0, w))
    return auc(rank, rows.positive), *_bounds(found)


def interval_of_mean(values: Floats, blocks: Blocks, draws: NDArray[np.float32]) -> tuple[float, float, float]:
    """The mean of a value per row, with the bounds of its 95 per cent interval."""
    sums = np.bincount(blocks.position, weights=values, minlength=blocks.bars)
    counts = np.bincount(blocks.position, minlength=blocks.bars).astype(np.float64)
    return float(values.mean()), *_bounds((draws @ sums) / np.maximum(draws @ counts, 1.0))


def interval_of_sum(per_bar: Floats, draws: NDArray[np.float32]) -> tuple[float, float, float]:
    """The sum of a value per out-of-sample bar, with the bounds of its 95 per cent interval."""
    return float(per_bar.sum()), *_bounds(draws @ per_bar)


def _bounds(found: Floats) -> tuple[float, float]:
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)


def permutations_needed(attempts: int) -> int:
    """Enough that the smallest p-value lies well below 0.001 divided by the attempts, and 10,000 at least."""
    return max(10_000, 5_000 * attempts)


def permutation_p(rows: Scored, blocks: Blocks, permutations: int, seed: int) -> float:
    """How often labels permuted in blocks rank at least as well under the fixed scores as the true labels do.

    The rank sum of positives is a sum over blocks: with R the ranks and Y the labels (blocks x rows of a block), the entry
    (i, j) of R Y' is what the labels of block j give at place i, and a permutation is a sum of one entry per row. Only bars
    at which every symbol has a row, in whole blocks, take part. p = (1 + as good or better) / (1 + permutations).
    """
    rank = ranks_by_fold(rows) - 0.5
    per_bar = np.bincount(blocks.position, minlength=blocks.bars)
    width = int(per_bar.max())
    full = np.flatnonzero(per_bar == width)
    kept = np.isin(blocks.position, full)
    r, y = rank[kept].reshape(-1, width), rows.positive[kept].astype(np.float64).reshape(-1, width)
    count = len(r) // blocks.length
    if count < 2:
        return 1.0
    whole = count * blocks.length
    r, y = r[:whole].reshape(count, -1), y[:whole].reshape(count, -1)
    gained = r @ (y - y.mean()).T
    true = float(np.trace(gained))
    draw = np.random.default_rng(seed)
    places = np.arange(count)
    as_good = sum(bool(gained[places, draw.permutation(count)].sum() >= true - 1e-12) for _ in range(permutations))
    return (1 + as_good) / (1 + permutations)


def calibration(rows: Scored, bins: int = 10) -> list[list[float]]:
    """Per tenth of the scores: their mean, the share of labels above zero, and the rows."""
    order = np.argsort(rows.score, kind="stable")
    return [
        [float(rows.score[part].mean()), float(rows.positive[part].mean()), float(len(part))]
        for part in np.array_split(order, bins)
        if len(part)
    ]
