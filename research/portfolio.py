"""Several strategies side by side: joined equity, correlation, what each contributes, weights of equal risk.

Each runs on its own account; the joined curve is what somebody has who gives each its share of the money and leaves it there.
Weights are reported and never traded. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alpha.errors import Misconfigured
from alpha.indicators import Floats
from backtester.result import Result
from research.evaluate import daily, objective
from research.folds import DAY_MS


@dataclass(frozen=True, slots=True)
class Portfolio:
    """Figures over the UTC days that all strategies have. `joined` is equity with 1 at the start; ratios are annualised.

    `correlation` of daily returns; `contribution` in percent points of the joined return; `risk_share` is each one's share
    of the joined variance; `parity` are the long-only weights at which these shares are equal.
    """

    names: tuple[str, ...]
    days: NDArray[np.int64]
    joined: Floats
    weights: Floats
    returns: Floats
    correlation: Floats
    contribution: Floats
    risk_share: Floats
    parity: Floats
    sharpe: float
    drawdown: float


def portfolio(results: Mapping[str, Result], weights: Mapping[str, float] | None = None) -> Portfolio:
    """Join results; `weights` are shares of the money, equal without. Misconfigured when they share fewer than 20 days."""
    names = tuple(results)
    series = {}
    for name, result in results.items():
        returns = daily(result.equity, float(result.cash), result.from_ms, result.interval_ms)
        series[name] = dict(zip(result.from_ms // DAY_MS + np.arange(len(returns)), returns.tolist(), strict=True))
    days = np.array(sorted(set.intersection(*(set(one) for one in series.values()))), dtype=np.int64)
    if len(days) < 20:
        raise Misconfigured(f"The strategies have {len(days)} days in common: at least 20 are needed.")
    table = np.array([[series[name][day] for name in names] for day in days.tolist()])
    given = np.array([1.0 if weights is None else weights[name] for name in names])
    shares = given / given.sum()
    each = np.cumprod(1 + table, axis=0)
    joined = each @ shares
    path = np.concatenate(([1.0], joined))
    covariance = np.atleast_2d(np.cov(table, rowvar=False))
    variance = float(shares @ covariance @ shares)
    spread = np.sqrt(np.diag(covariance))
    scale = np.outer(spread, spread)
    return Portfolio(
        names,
        days,
        joined,
        shares,
        table,
        np.where(scale > 0, covariance / np.where(scale > 0, scale, 1.0), 0.0),
        shares * (each[-1] - 1) * 100,
        shares * (covariance @ shares) / variance if variance > 0 else np.zeros(len(names)),
        risk_parity(covariance),
        objective("sharpe", np.diff(path) / path[:-1]),
        float((1 - path / np.maximum.accumulate(path)).max()),
    )


def risk_parity(covariance: Floats, rounds: int = 500) -> Floats:
    """Long-only weights at which every part has the same share of the variance (Maillard, Roncalli, Teiletche 2010).

    By cyclical coordinate descent (Griveau-Billion, Richard, Roncalli 2013); a part that never moves gets nothing.
    """
    count = len(covariance)
    moves = np.diag(covariance) > 0
    if not moves.any():
        return np.full(count, 1.0 / count)
    weights = np.where(moves, 1.0 / np.sqrt(np.where(moves, np.diag(covariance), 1.0)), 0.0)
    target = 1.0 / int(moves.sum())
    for _ in range(rounds):
        before = weights.copy()
        for place in np.flatnonzero(moves):
            other = float(covariance[place] @ weights) - float(covariance[place, place] * weights[place])
            root = float(np.sqrt(other**2 + 4 * covariance[place, place] * target))
            weights[place] = (root - other) / (2 * covariance[place, place])
        if np.abs(weights - before).max() < 1e-12 * weights.max():
            break
    found: Floats = weights / weights.sum()
    return found
