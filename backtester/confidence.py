"""How far a back-test's figures can be believed: what chance alone does to them.

Pure; returns and equity in, plain numbers out. Sources are named at each formula.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from alpha.indicators import Floats
from backtester.result import Result

DAY_MS = 86_400_000
DRAWS = 2_000


@dataclass(frozen=True, slots=True)
class Confidence:
    """Statistics of the trades' returns (net in percent of the entry value). None where there are too few trades.

    `t_statistic` is the mean over its standard error; `mean_low` to `mean_high` is the 90 % block-bootstrap interval of the
    mean return per trade; `chance_of_loss_pct` the share of block-bootstrapped histories of as many trades whose net
    profit in USDT is at or below zero; `best_five` their net in USDT, and in percent of the whole net profit.
    """

    trades: int
    mean_return_pct: float | None
    t_statistic: float | None
    mean_low_pct: float | None
    mean_high_pct: float | None
    chance_of_loss_pct: float | None
    best_five: float | None
    best_five_pct: float | None
    turnover: float
    held_mean_hours: float | None
    held_median_hours: float | None
    held_longest_hours: float | None

    def as_dict(self) -> dict[str, object]:
        """Plain values by name."""
        return asdict(self)


def confidence(result: Result, *, seed: int = 1, draws: int = DRAWS) -> Confidence:
    """The figures that qualify a result's figures. The bootstrap is drawn from `seed`, so that it can be repeated."""
    trades = sorted(result.trades, key=lambda trade: trade.exit_ms)
    returns = np.array([trade.return_pct for trade in trades])
    nets = np.array([float(trade.net) for trade in trades])
    hours = np.array([(trade.exit_ms - trade.entry_ms) / 3_600_000 for trade in trades])
    enough = len(trades) >= 10
    low = high = chance = None
    if enough:
        places = block_places(len(trades), draws, seed)
        means = returns[places].mean(axis=1)
        low, high = (float(value) for value in np.quantile(means, (0.05, 0.95)))
        chance = float((nets[places].sum(axis=1) <= 0).mean()) * 100
    best = float(np.sort(nets)[-5:].sum()) if len(trades) >= 5 else None
    total = float(nets.sum())
    value = sum(float(trade.entry_price * trade.size) + float(trade.exit_price * trade.size) for trade in trades)
    return Confidence(
        trades=len(trades),
        mean_return_pct=float(returns.mean()) if len(trades) else None,
        t_statistic=t_statistic(returns),
        mean_low_pct=low,
        mean_high_pct=high,
        chance_of_loss_pct=chance,
        best_five=best,
        best_five_pct=best / total * 100 if best is not None and total > 0 else None,
        turnover=value / float(result.equity.mean()) if len(result.equity) else 0.0,
        held_mean_hours=float(hours.mean()) if len(trades) else None,
        held_median_hours=float(np.median(hours)) if len(trades) else None,
        held_longest_hours=float(hours.max()) if len(trades) else None,
    )


def t_statistic(values: Floats) -> float | None:
    """The mean over its standard error (Student); None below two values or without spread."""
    if len(values) < 2:
        return None
    spread = float(values.std(ddof=1))
    return float(values.mean()) / (spread / math.sqrt(len(values))) if spread else None


def block_places(
    count: int, draws: int, seed: int, length: int | None = None
) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Places of a circular block bootstrap (Politis and Romano 1992), `draws` rows of `count`.

    Blocks keep neighbouring trades together, which share a market; their length is the cube root of the count unless given.
    """
    length = max(1, round(count ** (1 / 3))) if length is None else length
    blocks = -(-count // length)
    random = np.random.default_rng(seed)
    starts = random.integers(0, count, size=(draws, blocks))
    places = (starts[:, :, None] + np.arange(length)) % count
    found: np.ndarray[tuple[int, int], np.dtype[np.int64]] = places.reshape(draws, -1)[:, :count]
    return found


def daily_returns(result: Result) -> Floats:
    """Returns from UTC day to UTC day, as fractions, of the equity at each day's last bar close."""
    days = (result.close_ms - 1) // DAY_MS
    last = np.flatnonzero(np.diff(np.append(days, days[-1] + 1)))
    path = np.concatenate(([float(result.cash)], result.equity[last]))
    if (path <= 0).any():
        return np.empty(0)
    returns: Floats = np.diff(path) / path[:-1]
    return returns


def rolling_sharpe(returns: Floats, window: int = 90) -> Floats:
    """Annualised Sharpe ratio of the last `window` daily returns at each day; NaN before there are as many."""
    found = np.full(len(returns), np.nan)
    if len(returns) < window:
        return found
    views = np.lib.stride_tricks.sliding_window_view(returns, window)
    spread = views.std(axis=1, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found[window - 1 :] = np.where(spread > 0, views.mean(axis=1) / spread * math.sqrt(365.25), np.nan)
    return found


def held_return(closes: Sequence[Floats]) -> list[float]:
    """Return in percent of buying at the first and keeping to the last close, for each series."""
    return [float(close[-1] / close[0] - 1) * 100 for close in closes if len(close) > 1]
