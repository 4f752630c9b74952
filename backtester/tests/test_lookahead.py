"""Strategies that look ahead are found, each by its indicator and bar; honest ones are not accused."""

import numpy as np
import pytest

from alpha.indicators import Floats, sma
from alpha.strategy.bars import Bars, FloatArray
from alpha.strategy.base import BarContext, StrategyState
from alpha.strategy.intents import Intent
from alpha.timeframes import Columns, aggregate
from backtester.lookahead import check
from backtester.market import MarketData
from backtester.tests.test_timeframes import Trending
from tests.support.toy_strategies import Crossing, CrossingParameters, market, random_bars

HOUR_4 = 4 * 3_600_000


class Peeking(Crossing):
    """Its fast average is one bar early."""

    def indicators(self, bars: Bars) -> dict[str, FloatArray]:
        found = super().indicators(bars)
        early = np.full(len(bars), np.nan)
        early[:-1] = found["fast"][1:]
        return {**found, "fast": early}


class Merging(Crossing):
    """It joins the four-hour average on the candle's open time: known four hours before it is."""

    def indicators(self, bars: Bars) -> dict[str, FloatArray]:
        base = Columns(bars.start_ms, bars.open, bars.high, bars.low, bars.close, bars.volume)
        frame = aggregate(base, bars.interval_ms, HOUR_4)
        places = np.searchsorted(frame.start_ms, bars.start_ms, side="right") - 1
        average: Floats = sma(frame.close, 3)
        known = np.where(places >= 0, average[np.maximum(places, 0)] if len(average) else np.nan, np.nan)
        return {**super().indicators(bars), "trend": known}


class Deciding(Crossing):
    """Its indicators are honest; it decides by the next bar's close."""

    def evaluate(self, moment: BarContext, state: StrategyState) -> list[Intent]:
        wanted = []
        for intent in super().evaluate(moment, state):
            bar = moment.bars[intent.symbol]
            closes = bar.series.bars.close
            if bar.index + 1 < len(closes) and closes[bar.index + 1] > bar.close:
                wanted.append(intent)
        return wanted


class Running(Crossing):
    """A total that depends on where the data begin."""

    def indicators(self, bars: Bars) -> dict[str, FloatArray]:
        return {**super().indicators(bars), "total": np.cumsum(bars.volume)}


class Short(Crossing):
    """It says that it needs fewer bars than it does."""

    @property
    def history(self) -> int:
        return 10


def data() -> MarketData:
    return market(random_bars(3, 900))


def found(kind: type[Crossing]) -> set[tuple[str, str]]:
    return {(one.what, one.how) for one in check(lambda: kind(CrossingParameters()), data(), bars=10, span=300)}


@pytest.mark.parametrize("kind", [Crossing, Trending])
def test_an_honest_strategy_is_not_accused(kind: type[Crossing]) -> None:
    assert found(kind) == set()


def test_a_one_bar_peek_is_found_by_its_indicator_and_bar() -> None:
    strategy = Peeking(CrossingParameters())
    findings = check(lambda: Peeking(CrossingParameters()), data(), bars=10, span=300)
    assert {one.what for one in findings} >= {"the indicator 'fast'", "the decision"}
    cut = next(one for one in findings if one.what == "the indicator 'fast'" and "cut off" in one.how)
    assert cut.symbol == "XUSDT"
    assert (cut.bar_ms - int(data().bars["XUSDT"].start_ms[0])) % 3_600_000 == 0
    assert strategy.parameters.symbols[0] in cut.text


def test_a_merge_on_the_open_time_of_a_longer_candle_is_found_by_its_indicator() -> None:
    names = {what for what, how in found(Merging) if "noise" in how}
    assert "the indicator 'trend'" in names
    assert "the indicator 'fast'" not in names


def test_a_decision_by_the_next_bar_is_found_though_its_indicators_are_honest() -> None:
    assert {what for what, _ in found(Deciding)} == {"the decision"}


def test_a_value_that_depends_on_where_the_data_begin_is_found() -> None:
    assert ("the indicator 'total'", "depends on where the data begin") in found(Running)


def test_a_history_that_is_too_short_is_found() -> None:
    assert ("the indicator 'slow'", "has no value from the 10 bars of `history`") in found(Short)
