"""An indicator without a value (NaN): nothing new is entered there, and what is held can still be left."""

from decimal import Decimal

import numpy as np

from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.bars import Bars, BarView, Series
from alpha.strategy.intents import Enter, Exit, MoveStop, OfEquity
from tests.support.strategy_samples import MINUTES_5, MONDAY, Script, core_of, position

D = Decimal


def blind(symbol: str, close: float) -> BarView:
    """One bar whose only indicator has no value."""
    columns = [np.array([value]) for value in (close, close, close, close, 1.0)]
    bars = Bars(symbol, MINUTES_5, np.array([MONDAY], dtype=np.int64), *columns)
    return Series.of(bars, {"average": np.array([np.nan])}).view(0)


def test_a_held_symbol_whose_indicator_is_missing_is_shown_and_closed_and_its_stop_moves() -> None:
    for wanted in (
        Exit("BTCUSDT", Reason.SIGNAL, "no average, but far enough"),
        MoveStop("BTCUSDT", D(29_000), Reason.BREAK_EVEN),
    ):
        script = Script()
        core = core_of(script)
        core.state.positions["BTCUSDT"] = position("BTCUSDT", Direction.LONG, "30000")
        script.wanted = [wanted]
        plan = core.close_bar(MONDAY, {"BTCUSDT": blind("BTCUSDT", 29_500.0), "ETHUSDT": blind("ETHUSDT", 2_000.0)})
        # what is held is looked at, what is not held is not even shown
        assert set(script.seen[-1].bars) == {"BTCUSDT"}
        assert not script.seen[-1].bars["BTCUSDT"].ready
        if isinstance(wanted, Exit):
            assert [(order.symbol, order.reason) for order in plan.closes] == [("BTCUSDT", Reason.SIGNAL)]
        else:
            assert [(stop.symbol, stop.price) for stop in plan.stops] == [("BTCUSDT", D("29000.0"))]


def test_without_a_value_nothing_is_entered_held_or_not() -> None:
    script = Script()
    core = core_of(script)
    core.state.positions["BTCUSDT"] = position("BTCUSDT", Direction.LONG, "30000")
    script.wanted = [Enter("BTCUSDT", Direction.LONG, OfEquity(D("0.1")), stop=D("0.01"))]
    plan = core.close_bar(MONDAY, {"BTCUSDT": blind("BTCUSDT", 31_000.0)})
    assert plan.entries == []
    assert [skipped.counted for skipped in plan.skipped] == ["an indicator has no value"]
