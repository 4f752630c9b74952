"""One trial of a sweep: parameters in, daily returns and scores out. The same on every machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alpha.errors import Misconfigured
from alpha.indicators import Floats
from alpha.strategy.base import Strategy
from alpha.strategy.parameters import load_parameters
from backtester import kernel
from backtester.compiled import Span, walked
from backtester.engine import Run
from backtester.market import MarketData, UniverseMembership
from backtester.parts import parted_series
from backtester.prepared import BacktestConfig, bars_tested
from backtester.result import Result
from backtester.venue import Costs
from research.folds import DAY_MS, Fold
from research.overfitting import sharpe

YEAR_DAYS = 365.25
OBJECTIVES = ("sharpe", "sortino", "return", "calmar")


@dataclass(frozen=True, slots=True)
class SweepTerms:
    """What every trial of a sweep shares."""

    from_ms: int
    to_ms: int
    cash: Decimal
    costs: Costs
    resume_after_ms: int | None
    objective: str
    fixed: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Trial:
    """One finished trial. `value` is the mean over the folds of the objective in the training windows; `returns` are daily.

    `why` says why there is no result (parameters that the strategy refuses); then `value` is NaN.
    """

    number: int
    parameters: Mapping[str, str]
    value: float
    trades: int
    total_return: float
    returns: NDArray[np.float32]
    why: str = ""


class Evaluator:
    """Runs trials of one strategy over one market."""

    def __init__(self, kind: type[Strategy[Any, Any]], data: MarketData, terms: SweepTerms, folds: list[Fold]) -> None:
        self.kind, self.data, self.terms, self.folds = kind, data, terms, folds

    def strategy(self, parameters: Mapping[str, str]) -> Strategy[Any, Any]:
        """The strategy with these parameters over the fixed ones. Misconfigured when it refuses them."""
        return self.kind(load_parameters(self.kind.parameters_type, overrides={**self.terms.fixed, **parameters}))

    def trial(self, number: int, parameters: Mapping[str, str]) -> Trial:
        """Run one trial over the whole range."""
        days = (self.terms.to_ms - self.terms.from_ms) // DAY_MS
        try:
            strategy = self.strategy(parameters)
            trades, equity, first_ms = self.equity(strategy)
        except Misconfigured as fault:
            return Trial(number, parameters, float("nan"), 0, 0.0, np.zeros(days, dtype=np.float32), str(fault))
        returns = daily(equity, float(self.terms.cash), first_ms, self.data.interval_ms)
        total = float(equity[-1]) / float(self.terms.cash) - 1
        return Trial(number, parameters, self.score(returns, first_ms), trades, total, returns.astype(np.float32))

    def equity(self, strategy: Strategy[Any, Any]) -> tuple[int, Floats, int]:
        """Number of trades, equity at every bar's close, and the first bar's start."""
        terms, data = self.terms, self.data
        config = BacktestConfig(terms.from_ms, terms.to_ms, terms.cash, terms.costs, terms.resume_after_ms)
        first, end = bars_tested(strategy, data, config)
        first_ms = data.first_ms + first * data.interval_ms
        symbols = UniverseMembership(strategy.universe, data).all_symbols
        series = {symbol: parted_series(strategy, data.shown(strategy, symbol)) for symbol in symbols}
        resume = -1 if terms.resume_after_ms is None else terms.resume_after_ms
        walk = walked(strategy, data, series, Span(first, end, terms.cash, terms.costs, resume))
        if walk is not None:
            closed = (walk.events[:, 0] == kernel.CLOSED) & (walk.events[:, 4] != kernel.OPEN_END)
            return int(closed.sum()), walk.equity, first_ms
        result: Result = Run(strategy, data, config).result()
        return len(result.trades), result.equity, first_ms

    def score(self, returns: Floats, first_ms: int) -> float:
        """The mean over the folds of the objective in the training window."""
        found = [
            objective(self.terms.objective, window(returns, first_ms, fold.train_from_ms, fold.train_to_ms))
            for fold in self.folds
        ]
        return float(np.mean(found))


def daily(equity: Floats, cash: float, first_ms: int, interval_ms: int) -> Floats:
    """Returns from UTC day to UTC day at each day's last close, as fractions; a lost account stays at -1, then 0."""
    closes = first_ms + interval_ms * np.arange(1, len(equity) + 1, dtype=np.int64)
    days = (closes - 1) // DAY_MS
    last = np.flatnonzero(np.diff(np.append(days, days[-1] + 1)))
    path = np.maximum(np.concatenate(([cash], equity[last])), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        returns: Floats = np.where(path[:-1] > 0, np.diff(path) / path[:-1], 0.0)
    return returns


def window(returns: Floats, first_ms: int, from_ms: int, to_ms: int) -> Floats:
    """The daily returns of `from_ms <= day < to_ms`; the first return is of the day that holds `first_ms`."""
    first = first_ms // DAY_MS
    low = max(0, from_ms // DAY_MS - first)
    return returns[low : max(low, to_ms // DAY_MS - first)]


def objective(name: str, returns: Floats) -> float:
    """A score of daily returns: annualised Sharpe or Sortino ratio, yearly return, or that over the deepest fall."""
    if not len(returns):
        return 0.0
    if name == "sharpe":
        return float(sharpe(returns) * YEAR_DAYS**0.5)
    if name == "sortino":
        falling = float(np.sqrt(np.mean(np.minimum(returns, 0.0) ** 2)))
        return float(returns.mean() / falling * YEAR_DAYS**0.5) if falling > 0 else 0.0
    path = np.cumprod(1 + returns)
    yearly = float(path[-1]) ** (YEAR_DAYS / len(returns)) - 1 if path[-1] > 0 else -1.0
    if name == "return":
        return yearly
    peak = np.maximum(np.maximum.accumulate(path), 1.0)
    fall = float((1 - path / peak).max())
    return yearly / fall if fall > 0 else 0.0
