"""Bars with their indicators on every timeframe of a strategy: the same live and in a back-test."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from alpha.model.interval import INTERVAL_MS
from alpha.strategy.bars import Bars, BarView, ScoreColumn, Series
from alpha.strategy.base import Strategy
from alpha.timeframes import Columns, aggregate, frame_ms


def series_of(strategy: Strategy[Any, Any], bars: Bars) -> Series:
    """The series of base bars, further timeframes made of them. Misconfigured for a timeframe that does not fit."""
    frames = {}
    for interval in strategy.timeframes:
        length = frame_ms(interval, bars.interval_ms)
        base = Columns(bars.start_ms, bars.open, bars.high, bars.low, bars.close, bars.volume)
        joined = Bars(bars.symbol, length, *aggregate(base, bars.interval_ms, length), auxiliary=bars.auxiliary)
        frames[interval] = Series.of(joined, strategy.indicators(joined))
    series = Series.of(bars, strategy.indicators(bars), frames)
    source = strategy.score_source
    if source is None or not strategy.models:
        return series
    columns = Columns(bars.start_ms, bars.open, bars.high, bars.low, bars.close, bars.volume)
    scored = source.of(strategy.models, bars.symbol, bars.interval_ms, columns)
    return replace(series, scores={n: ScoreColumn(one.values, one.codes, one.texts) for n, one in scored.items()})


def with_scores(view: BarView, scores: Mapping[str, ScoreColumn]) -> BarView:
    """The same bar with the scores of models."""
    return replace(view.series, scores=scores).view(view.index)


def base_history(strategy: Strategy[Any, Any]) -> int:
    """How many closed base bars give every indicator of every timeframe its value, at any time."""
    base_ms = INTERVAL_MS[strategy.interval]
    need = strategy.history
    for interval in strategy.timeframes:
        parts = frame_ms(interval, base_ms) // base_ms
        # The newest frame may have ended up to parts - 1 bars ago.
        need = max(need, (strategy.history_of(interval) + 1) * parts)
    return need
