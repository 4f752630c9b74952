"""What is left of a best result once it is known how many were tried.

Deflated Sharpe ratio: Bailey and Lopez de Prado, "The Deflated Sharpe Ratio" (2014). Probability of back-test overfitting by
combinatorially symmetric cross-validation: Bailey, Borwein, Lopez de Prado and Zhu (2017). Ratios here are per observation,
not annualised. Pure.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alpha.indicators import Floats

EULER_GAMMA = 0.5772156649015329
BLOCKS = 16
_MOST_SPLITS = 4_000


def sharpe(returns: Floats) -> float:
    """Mean over standard deviation of the returns, per observation; 0 where nothing moves."""
    if len(returns) < 2:
        return 0.0
    spread = float(returns.std(ddof=1))
    return float(returns.mean()) / spread if spread > 0 else 0.0


def expected_maximum(trials: float, variance: float) -> float:
    """The Sharpe ratio that the best of so many independent trials without skill is expected to have (eq. 1 of the paper)."""
    if trials <= 1:
        return 0.0
    normal = _normal()
    first = (1 - EULER_GAMMA) * float(normal.ppf(1 - 1 / trials))
    second = EULER_GAMMA * float(normal.ppf(1 - 1 / (trials * math.e)))
    return math.sqrt(variance) * (first + second)


def probabilistic_sharpe(ratio: float, benchmark: float, count: int, skew: float, kurtosis: float) -> float:
    """The probability that the true ratio is above the benchmark, of `count` returns; kurtosis of a normal is 3."""
    below = 1 - skew * ratio + (kurtosis - 1) / 4 * ratio**2
    if count < 2 or below <= 0:
        return 0.0
    return float(_normal().cdf((ratio - benchmark) * math.sqrt(count - 1) / math.sqrt(below)))


def deflated_sharpe(ratio: float, *, variance: float, trials: float, count: int, skew: float, kurtosis: float) -> float:
    """The probability that the best ratio of `trials` is more than luck; `variance` is that of the ratios over the trials."""
    return probabilistic_sharpe(ratio, expected_maximum(trials, variance), count, skew, kurtosis)


def moments(returns: Floats) -> tuple[float, float]:
    """Skewness and kurtosis (3 for a normal) of the returns."""
    away = returns - returns.mean()
    second = float((away**2).mean())
    if second <= 0:
        return 0.0, 3.0
    return float((away**3).mean() / second**1.5), float((away**4).mean()) / second**2


def independent_trials(table: Floats) -> float:
    """How many independent trials the columns amount to: N (1 - mean correlation) + mean correlation (the paper, appendix 3)."""
    count = table.shape[1]
    moving = table[:, table.std(axis=0) > 0]
    if moving.shape[1] < 2:
        return float(max(1, moving.shape[1]))
    scaled = (moving - moving.mean(axis=0)) / moving.std(axis=0)
    number = moving.shape[1]
    # The mean of all correlations from the variance of the sum, without a table of N x N.
    whole = float((scaled.sum(axis=1) ** 2).mean())
    mean = (whole - number) / (number * (number - 1))
    return float(max(1.0, min(float(count), mean + (1 - mean) * number)))


@dataclass(frozen=True, slots=True)
class Overfitting:
    """Outcome of CSCV. `probability`: how often the best in sample is in the worse half out of sample.

    `loss`: how often the best in sample has a ratio below zero out of sample; `slope` of out-of-sample on in-sample ratios;
    `logits` of the relative ranks, one per split.
    """

    probability: float
    loss: float
    slope: float
    splits: int
    logits: Floats


def overfitting(table: Floats, blocks: int = BLOCKS, seed: int = 1) -> Overfitting | None:
    """CSCV over returns of shape (observations, trials), by Sharpe ratio; None with fewer than 2 trials or 2 rows a block.

    All splits of `blocks` into two halves, or 4,000 of them drawn from `seed` where there are more.
    """
    rows, trials = table.shape
    if trials < 2 or rows < 2 * blocks:
        return None
    length = rows // blocks
    used = table[rows - length * blocks :].reshape(blocks, length, trials)
    sums, squares = used.sum(axis=1), (used**2).sum(axis=1)
    picks = np.array(list(itertools.combinations(range(blocks), blocks // 2)), dtype=np.int64)
    if len(picks) > _MOST_SPLITS:
        picks = picks[np.random.default_rng(seed).choice(len(picks), _MOST_SPLITS, replace=False)]
    half = length * (blocks // 2)
    logits, bests, outs = np.empty(len(picks)), np.empty(len(picks)), np.empty(len(picks))
    whole, whole_squares = sums.sum(axis=0), squares.sum(axis=0)
    for place, pick in enumerate(picks):
        one, one_squares = sums[pick].sum(axis=0), squares[pick].sum(axis=0)
        inside = _ratios(one, one_squares, half)
        outside = _ratios(whole - one, whole_squares - one_squares, half)
        best = int(inside.argmax())
        below = float((outside < outside[best]).sum()) + 0.5 * float((outside == outside[best]).sum() - 1)
        rank = (below + 1) / (trials + 1)
        logits[place] = math.log(rank / (1 - rank))
        bests[place], outs[place] = inside[best], outside[best]
    spread = float(bests.var())
    slope = float(((bests - bests.mean()) * (outs - outs.mean())).mean() / spread) if spread > 0 else 0.0
    return Overfitting(float((logits <= 0).mean()), float((outs < 0).mean()), slope, len(picks), logits)


def _ratios(total: Floats, squares: Floats, count: int) -> NDArray[np.float64]:
    mean = total / count
    variance = np.maximum(squares / count - mean**2, 0.0) * count / (count - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found: NDArray[np.float64] = np.where(variance > 1e-30, mean / np.sqrt(variance), 0.0)
    return found


def _normal() -> Any:
    from scipy.stats import norm

    return norm
