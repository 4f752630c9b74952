"""A back-test of a strategy that gives its rules as arrays: walked by `kernel`, then computed exactly by `rebuild`.

`plan` prepares what the kernel needs, or says why it cannot; `walked` walks. numba is loaded here and nowhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alpha.indicators import Floats
from alpha.strategy.arrays import ArrayRules
from alpha.strategy.bars import Series
from alpha.strategy.base import Strategy
from alpha.strategy.intents import OfEquity
from alpha.strategy.risk_rules import Action, Rules, Until, Window
from backtester import kernel
from backtester.market import MarketData
from backtester.market_arrays import SCALE, Ints, MarketArrays, market_arrays, whole
from backtester.venue import Costs

_DAY_MS = 86_400_000
_WINDOWS = {Window.DAY: 0, Window.WEEK: 1, Window.MONTH: 2, Window.DRAWDOWN: 3}
_EVENTS = 8_192


@dataclass(frozen=True, slots=True)
class Span:
    """Bars `first` to `end` of the grid, cash in USDT, costs, and when the operator resumes (-1: never)."""

    first: int
    end: int
    cash: Decimal
    costs: Costs
    resume_ms: int = -1


@dataclass(frozen=True, slots=True)
class Walk:
    """What the kernel found. `events` as `kernel.walk` says; `equity` in USDT at the close of each bar of the span."""

    market: MarketArrays
    rules: ArrayRules
    events: NDArray[np.int64]
    equity: Floats
    refused: Ints
    limit_refused: Ints
    wallet: float


def unfit(strategy: Strategy[Any, Any], interval_ms: int) -> str:
    """Why the kernel cannot walk a strategy with these account rules; "" when it can."""
    if _depth(strategy, "evaluate") < _depth(strategy, "arrays"):
        return "its `evaluate` was written over without its `arrays`"
    if strategy.models or strategy.score_source is not None:
        return "it uses the scores of models"
    rules, universe = strategy.rules, strategy.universe
    if not universe.symbols:
        return "its universe changes"
    if rules.open_profit is not None or rules.max_adds:
        return "it adds to positions or limits open profit"
    if interval_ms > _DAY_MS:
        return "its bars are longer than a day"
    for limit in rules.loss_limits:
        if limit.action is Action.CLOSE_ALL or limit.until is Until.HALF_RECOVERED:
            return f"the kernel does not know the limit {limit.name}"
    return ""


def _depth(strategy: Strategy[Any, Any], name: str) -> int:
    """How far from the object a method is defined: -1 in itself, 0 in its class, 1 in that one's parent ..."""
    if name in vars(strategy):
        return -1
    return next(place for place, kind in enumerate(type(strategy).__mro__) if name in vars(kind))


def walked(
    strategy: Strategy[Any, Any],
    data: MarketData,
    series: Mapping[str, Series],
    span: Span,
    rules: ArrayRules | None = None,
) -> Walk | None:
    """Walk the span; None when the rules, the prices or a near tie ask for the slow walk."""
    rules = strategy.arrays(series) if rules is None else rules
    if rules is None or unfit(strategy, data.interval_ms):
        return None
    market = market_arrays(data, tuple(series))
    if market is None:
        return None
    parts = _parts(rules, market)
    slips = [whole(span.costs.slippage_of(symbol) / 10_000) for symbol in market.symbols]
    if parts is None or None in slips:
        return None
    account = strategy.rules
    sign = rules.direction.sign
    raises = whole(1 - sign * rules.raises.fraction) if rules.raises is not None else 0
    if raises is None:
        return None
    whole_numbers = np.array(
        [
            data.interval_ms,
            data.first_ms,
            account.cooldown_ms,
            -1 if account.entries_per_day is None else account.entries_per_day,
            -1 if account.max_positions is None else account.max_positions,
            rules.leaves_after_ms,
            -1 if rules.time_limit_ms is None else rules.time_limit_ms,
            raises,
            account.adverse_first != "high-first",
            rules.held_order,
            bool(rules.score),
            span.resume_ms,
            isinstance(rules.size, OfEquity),
        ],
        dtype=np.int64,
    )
    fee = float(span.costs.taker_fee)
    real = np.array(
        [
            float(span.cash),
            fee,
            float(rules.size.fraction if isinstance(rules.size, OfEquity) else rules.size.usdt),
            -1.0 if account.max_exposure is None else float(account.max_exposure),
            float(account.leverage),
            float((0.5 / market.max_leverage).max()) + fee,
        ]
    )
    flags = _flags(rules, series, market)
    limits = _limits(account)
    most, bars = _EVENTS, span.end - span.first
    months = months_of(data.first_ms, data.first_ms + (span.end + 1) * data.interval_ms)
    while True:
        events = np.empty((most, 8), dtype=np.int64)
        equity = np.empty(bars)
        refused = np.zeros(kernel.REFUSALS, dtype=np.int64)
        limit_refused = np.zeros(max(1, len(account.loss_limits)), dtype=np.int64)
        state, used, _, wallet = kernel.walk(
            np.array([span.first, span.end, sign], dtype=np.int64),
            market.base,
            market.count,
            market.offset,
            market.open,
            market.high,
            market.low,
            market.close,
            market.funding,
            market.unit,
            market.tick,
            market.step,
            market.least,
            market.most,
            market.value,
            *flags,
            *parts,
            np.array(slips, dtype=np.int64),
            months,
            *limits,
            whole_numbers,
            real,
            events,
            np.zeros(1),
            equity,
            refused,
            limit_refused,
        )
        if state == kernel.FULL:
            most *= 8
            continue
        if state != kernel.DONE:
            return None
        return Walk(market, rules, events[:used], equity, refused, limit_refused, float(wallet))


def _flags(
    rules: ArrayRules, series: Mapping[str, Series], market: MarketArrays
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Floats]:
    enters = np.concatenate([rules.enters[symbol] & series[symbol].ready for symbol in market.symbols])
    leaves = np.concatenate([rules.leaves[symbol] for symbol in market.symbols])
    score = np.concatenate([rules.score[symbol] for symbol in market.symbols]) if rules.score else np.empty(0)
    return enters, leaves, score


def _parts(rules: ArrayRules, market: MarketArrays) -> tuple[Ints, Ints, Ints, Ints] | None:
    """The factors of each symbol's levels, in parts of `SCALE`; None when one is finer than that."""
    sign, found = rules.direction.sign, []
    for symbol in market.symbols:
        levels = rules.levels[symbol]
        row = [
            whole(1 - sign * levels.stop),
            0 if levels.take_profit is None else whole(1 + sign * levels.take_profit),
            0 if levels.trailing is None else whole(levels.trailing.distance),
            0 if levels.trailing is None else whole(1 + sign * levels.trailing.activation),
        ]
        if any(part is None or not 0 <= part < 8 * SCALE for part in row):
            return None
        found.append(row)
    table = np.array(found, dtype=np.int64).T.copy()
    return table[0], table[1], table[2], table[3]


def _limits(rules: Rules) -> tuple[Ints, Floats, NDArray[np.bool_], NDArray[np.bool_]]:
    limits = rules.loss_limits
    return (
        np.array([_WINDOWS[limit.window] for limit in limits], dtype=np.int64),
        np.array([float(limit.fraction) for limit in limits], dtype=np.float64),
        np.array([limit.action is Action.HALF_SIZE for limit in limits], dtype=np.bool_),
        np.array([limit.until is Until.RESUMED for limit in limits], dtype=np.bool_),
    )


def months_of(from_ms: int, to_ms: int) -> Ints:
    """For each UTC day from the one that holds `from_ms`, a number of its month."""
    days = np.arange(from_ms // _DAY_MS, to_ms // _DAY_MS + 2)
    return days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
