"""Momentum's rules, one at a time, on bars whose indicators are given."""

from decimal import Decimal

import numpy as np
import pytest
from pydantic import ValidationError

from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.bars import Bars, BarView, Series
from alpha.strategy.base import BarContext, Portfolio, StrategyState
from alpha.strategy.intents import Enter, Exit, Intent, MoveStop, OfEquity
from alpha.strategy.positions import OwnPosition
from alpha.strategy.risk_rules import Action, Until, Window
from strategies.momentum.parameters import MomentumParameters
from strategies.momentum.strategy import INTERVAL_MS, Momentum, _score
from strategies.momentum.tests.markets import START_MS

SIGNAL = {"close": 105.0, "sma": 100.0, "upper": 104.0, "percentile": 0.2, "rvr": 3.0}


def bar(symbol: str = "BTCUSDT", **figures: float) -> BarView:
    """One bar; what is not given is that of a signal."""
    given = SIGNAL | figures
    price = np.array([given.pop("close")])
    bars = Bars(symbol, INTERVAL_MS, np.array([START_MS]), price, price, price, price, np.array([1.0]))
    return Series.of(bars, {name: np.array([value]) for name, value in given.items()}).view(0)


def position(symbol: str = "BTCUSDT", high: str | None = "100") -> OwnPosition:
    return OwnPosition(
        symbol=symbol,
        direction=Direction.LONG,
        size=Decimal(1),
        entry_price=Decimal(100),
        opened_ms=START_MS,
        opened_bar_ms=START_MS,
        stop_loss=Decimal(90),
        highest_high=None if high is None else Decimal(high),
    )


def wishes(*bars: BarView, held: tuple[OwnPosition, ...] = (), **parameters: object) -> list[Intent]:
    strategy = Momentum(MomentumParameters.model_validate(parameters))
    moment = BarContext(
        START_MS,
        START_MS + INTERVAL_MS,
        {one.symbol: one for one in bars},
        Portfolio({one.symbol: one for one in held}),
    )
    return strategy.evaluate(moment, StrategyState())


def test_a_breakout_from_narrow_bands_on_high_volume_is_bought() -> None:
    [wish] = wishes(bar())
    assert isinstance(wish, Enter)
    assert (wish.symbol, wish.direction, wish.stop) == ("BTCUSDT", Direction.LONG, Decimal("0.10"))
    assert wish.take_profit is None
    assert wish.trailing is None


@pytest.mark.parametrize(
    "missing", [{"percentile": 0.35}, {"upper": 105.0}, {"rvr": 2.0}, {"sma": 105.0, "upper": 104.0}]
)
def test_each_condition_must_hold_strictly(missing: dict[str, float]) -> None:
    assert wishes(bar("BTCUSDT", **missing)) == []


def test_the_size_is_risk_over_stop_and_a_fifth_of_equity_at_most() -> None:
    [usual] = wishes(bar())
    [careful] = wishes(bar(), risk="0.01")
    assert isinstance(usual, Enter)
    assert isinstance(careful, Enter)
    assert usual.size == OfEquity(Decimal("0.20"))
    assert careful.size == OfEquity(Decimal("0.1"))


def test_the_best_score_comes_first() -> None:
    calm, loud, far = bar("AUSDT", percentile=0.0), bar("BUSDT", rvr=5.0), bar("CUSDT", close=110.0, upper=104.0)
    ordered = [wish.symbol for wish in wishes(bar("DUSDT"), calm, loud, far)]
    assert ordered == ["CUSDT", "BUSDT", "AUSDT", "DUSDT"]


def test_volume_and_rise_score_one_at_most() -> None:
    best, middling = bar(percentile=0.0, rvr=50.0, close=200.0, upper=104.0), bar(percentile=0.4, rvr=2.5, close=105.0)
    assert _score(best.close, best) == pytest.approx(1.0)
    assert _score(middling.close, middling) == pytest.approx((0.6 + 0.5 + 0.5) / 3)


def test_a_close_below_the_average_leaves() -> None:
    [wish] = wishes(bar(close=99.9), held=(position(),))
    assert isinstance(wish, Exit)
    assert wish.reason is Reason.SIGNAL


def test_a_close_on_the_average_stays_and_raises_the_stop_below_the_highest_high() -> None:
    [wish] = wishes(bar(close=100.0), held=(position(high="120"),))
    assert isinstance(wish, MoveStop)
    assert (wish.price, wish.meaning) == (Decimal("108.00"), Reason.TRAILING_STOP)


def test_what_is_held_is_not_bought_again() -> None:
    assert not [wish for wish in wishes(bar(), held=(position(),)) if isinstance(wish, Enter)]


def test_a_held_symbol_without_a_bar_is_left_alone() -> None:
    assert wishes(held=(position(),)) == []


@pytest.mark.parametrize(("rising", "entries"), [(1.0, 2), (0.0, 0)])
def test_with_the_filter_on_btc_must_rise(rising: float, entries: int) -> None:
    found = wishes(bar("BTCUSDT", rising=rising), bar("ETHUSDT"), btc_filter=True)
    assert len(found) == entries


def test_with_the_filter_on_no_bar_of_btc_means_no_entry() -> None:
    assert wishes(bar("ETHUSDT"), btc_filter=True) == []


def test_the_filter_stops_no_exit() -> None:
    [wish] = wishes(bar("ETHUSDT", close=99.0), held=(position("ETHUSDT"),), btc_filter=True)
    assert isinstance(wish, Exit)


def test_the_filter_without_btc_is_refused() -> None:
    with pytest.raises(ValidationError, match="btc_filter needs BTCUSDT"):
        MomentumParameters(symbols=("ETHUSDT",), btc_filter=True)


def test_the_account_rules_are_the_documented_ones() -> None:
    rules = Momentum(MomentumParameters()).rules
    assert (rules.leverage, rules.max_positions, rules.adverse_first) == (Decimal(2), 3, "low-first")
    assert [(one.window, one.fraction, one.action, one.until) for one in rules.loss_limits] == [
        (Window.DAY, Decimal("0.03"), Action.NO_ENTRIES, Until.WINDOW_END),
        (Window.WEEK, Decimal("0.08"), Action.HALF_SIZE, Until.WINDOW_END),
        (Window.MONTH, Decimal("0.15"), Action.NO_ENTRIES, Until.RESUMED),
        (Window.DRAWDOWN, Decimal("0.20"), Action.NO_ENTRIES, Until.RESUMED),
    ]
