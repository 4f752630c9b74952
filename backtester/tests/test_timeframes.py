"""A strategy with a longer timeframe on the files of its base interval alone."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from alpha.indicators import sma
from alpha.strategy.bars import Bars, BarView, FloatArray, LookAhead
from alpha.strategy.base import BarContext, StrategyState
from alpha.strategy.frames import base_history, series_of
from alpha.strategy.intents import Exit, Intent
from alpha.timeframes import Columns, aggregate
from exchange_simulator.market.generator import GeneratedMarket
from tests.support.toy_strategies import Crossing, CrossingParameters, backtest_of, market, random_bars

MINUTE_MS = 60_000


class Trending(Crossing):
    """The crossing of the base interval, only above the average of four hours."""

    @property
    def timeframes(self) -> tuple[str, ...]:
        return ("240",)

    def history_of(self, timeframe: str) -> int:
        return 6

    def indicators(self, bars: Bars) -> dict[str, FloatArray]:
        if bars.interval_ms == 240 * MINUTE_MS:
            return {"trend": sma(bars.close, 6)}
        return super().indicators(bars)

    def evaluate(self, moment: BarContext, state: StrategyState) -> list[Intent]:
        allowed = []
        for intent in super().evaluate(moment, state):
            frame = moment.bars[intent.symbol].frame("240")
            assert frame is not None
            assert frame.end_ms <= moment.close_ms < frame.end_ms + 240 * MINUTE_MS
            if isinstance(intent, Exit) or frame.close > frame["trend"]:
                allowed.append(intent)
        return allowed


def trending() -> Trending:
    return Trending(CrossingParameters())


def test_a_longer_timeframe_filters_entries() -> None:
    data = market(random_bars(5, 1_500))
    filtered, plain = backtest_of(trending(), data), backtest_of(Crossing(CrossingParameters()), data)
    assert 0 < len(filtered.trades) < len(plain.trades)


def test_the_values_do_not_depend_on_where_the_base_candles_begin() -> None:
    bars = random_bars(5, 800)
    strategy = trending()
    whole, need = series_of(strategy, bars), base_history(strategy)
    assert need == 28
    for end in range(need, 800, 7):
        columns = (getattr(bars, name)[end - need : end] for name in ("open", "high", "low", "close", "volume"))
        part = series_of(strategy, Bars(bars.symbol, bars.interval_ms, bars.start_ms[end - need : end], *columns))
        found, expected = part.view(need - 1).frame("240"), whole.view(end - 1).frame("240")
        assert found is not None
        assert expected is not None
        assert (found.start_ms, found["trend"]) == (expected.start_ms, expected["trend"])


def test_a_hole_gives_no_bar_and_the_reason() -> None:
    bars = random_bars(5, 60)
    series = series_of(trending(), bars)
    view = series.view(2)
    assert view.frame("240") is None
    assert "is not complete" in view.frame_gap("240")
    assert not view.ready
    assert series.view(40).frame_gap("240") == ""
    assert np.isnan(series.at_frame("240", "trend")[2])


def test_a_later_bar_cannot_be_asked_for() -> None:
    series = series_of(trending(), random_bars(5, 60))
    with pytest.raises(LookAhead):
        series.view(10).before(-1)
    frame = series.view(40).frame("240")
    assert isinstance(frame, BarView)
    with pytest.raises(LookAhead):
        frame.before(-1)


@pytest.mark.parametrize("interval", ["15", "60", "240", "D"])
def test_joined_base_candles_are_the_simulated_exchanges_own_of_that_interval(interval: str) -> None:
    begin = datetime(2025, 1, 1, tzinfo=UTC)
    made = GeneratedMarket(3, ("BTCUSDT", "DOGEUSDT"))
    span = (int(begin.timestamp() * 1000), int((begin + timedelta(days=3)).timestamp() * 1000))
    for symbol in ("BTCUSDT", "DOGEUSDT"):

        def columns(name: str, symbol: str = symbol) -> Columns:
            rows = made.candles(symbol, name, *span)
            one = made.instruments[symbol]
            prices = [[float(one.price(value)) for value in (row.open, row.high, row.low, row.close)] for row in rows]
            opened, high, low, close = np.array(prices).T
            volume = np.array([float(one.qty(row.volume)) for row in rows])
            return Columns(np.array([row.start_ms for row in rows]), opened, high, low, close, volume)

        own = columns(interval)
        length = int(own.start_ms[1] - own.start_ms[0])
        joined = aggregate(columns("5"), 300_000, length)
        for ours, theirs in zip(joined, own, strict=True):
            assert ours.tolist() == theirs.tolist()


def test_an_entry_by_the_frame_names_a_frame_that_the_strategy_has() -> None:
    view = series_of(trending(), random_bars(5, 60)).view(40)
    with pytest.raises(KeyError):
        view.frame("60")
