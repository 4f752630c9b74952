"""ShortSeller's rules, one at a time, on bars whose averages are given."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.bars import Bars, BarView, Series
from alpha.strategy.base import BarContext, Portfolio, StrategyState
from alpha.strategy.intents import Enter, Exit, Intent, OfEquity
from alpha.strategy.positions import OwnPosition
from alpha.strategy.risk_rules import Action, Until, Window
from strategies.shortseller.parameters import ShortSellerParameters
from strategies.shortseller.strategy import HOUR_MS, INTERVAL_MS, ShortSeller
from strategies.shortseller.tests.markets import START_MS, random_bars, two_bars

ABOVE = (101.0, 100.0, 100.5)
BELOW = (99.0, 100.0, 100.5)


def position(symbol: str = "BTCUSDT", opened_bar_ms: int = START_MS) -> OwnPosition:
    return OwnPosition(
        symbol=symbol,
        direction=Direction.SHORT,
        size=Decimal(1),
        entry_price=Decimal(100),
        opened_ms=opened_bar_ms + 700,
        opened_bar_ms=opened_bar_ms,
        stop_loss=Decimal(101),
    )


def wishes(*bars: BarView, held: OwnPosition | None = None, **parameters: object) -> list[Intent]:
    strategy = ShortSeller(ShortSellerParameters.model_validate(parameters))
    now = bars[0]
    portfolio = Portfolio({} if held is None else {held.symbol: held})
    moment = BarContext(now.start_ms, now.end_ms, {bar.symbol: bar for bar in bars}, portfolio)
    return strategy.evaluate(moment, StrategyState())


@pytest.mark.parametrize(
    ("before", "now", "sold"),
    [
        (ABOVE, BELOW, True),
        ((100.2, 100.0, 100.5), BELOW, True),  # crosses the fast average, was below the slow one already
        ((99.9, 99.5, 100.5), (99.0, 99.5, 100.5), True),
        ((100.0, 100.0, 100.5), BELOW, True),  # a close on the average is not below it
        ((100.5, 101.0, 100.5), BELOW, True),  # nor on the slow one
        (BELOW, (98.0, 100.0, 100.5), False),  # no crossing on this bar
        (ABOVE, (100.2, 100.0, 100.5), False),  # crosses the slow one only, still above the fast: not a falling market
        (ABOVE, (100.0, 100.0, 100.5), False),  # on the average
        (BELOW, ABOVE, False),
    ],
)
def test_it_sells_when_a_bar_closes_below_both_and_the_bar_before_was_not_below_one(
    before: tuple[float, float, float], now: tuple[float, float, float], sold: bool
) -> None:
    assert bool(wishes(two_bars(before, now))) is sold


def test_no_entry_on_the_first_bar_that_has_averages() -> None:
    assert wishes(two_bars((101.0, np.nan, np.nan), BELOW)) == []


@pytest.mark.parametrize(
    ("symbol", "stop", "target", "distance", "start"),
    [
        ("BTCUSDT", "0.010", "0.030", "0.01", "0.02"),
        ("ETHUSDT", "0.015", "0.045", "0.02", "0.02"),
        ("SOLUSDT", "0.015", "0.060", "0.02", "0.03"),
    ],
)
def test_an_entry_has_the_levels_of_its_symbol_and_seventy_percent_of_equity(
    symbol: str, stop: str, target: str, distance: str, start: str
) -> None:
    (enter,) = wishes(two_bars(ABOVE, BELOW, symbol))
    assert isinstance(enter, Enter)
    assert enter.direction is Direction.SHORT
    assert enter.size == OfEquity(Decimal("0.70"))
    assert (enter.stop, enter.take_profit) == (Decimal(stop), Decimal(target))
    assert enter.trailing is not None
    assert (enter.trailing.distance, enter.trailing.activation) == (Decimal(distance), Decimal(start))


def test_all_symbols_that_cross_on_one_bar_are_sold() -> None:
    bars = [two_bars(ABOVE, BELOW, symbol) for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT")]
    assert len(wishes(*bars)) == 3


def reason_after(held_ms: int, now: tuple[float, float, float]) -> Reason | None:
    bar = two_bars(BELOW, now, start_ms=START_MS + held_ms - INTERVAL_MS)
    found = wishes(bar, held=position())
    assert all(isinstance(intent, Exit) for intent in found)
    return found[0].reason if found and isinstance(found[0], Exit) else None


def test_the_end_of_the_falling_market_closes_a_position_that_is_an_hour_old() -> None:
    assert reason_after(HOUR_MS - INTERVAL_MS, ABOVE) is None
    assert reason_after(HOUR_MS, ABOVE) is Reason.REGIME_CHANGE
    assert reason_after(HOUR_MS, (100.2, 100.0, 100.5)) is Reason.REGIME_CHANGE
    assert reason_after(HOUR_MS, BELOW) is None


def test_a_day_is_the_longest_holding_time() -> None:
    assert reason_after(24 * HOUR_MS - INTERVAL_MS, BELOW) is None
    assert reason_after(24 * HOUR_MS, BELOW) is Reason.TIME_LIMIT


def test_the_account_rules_are_those_of_the_table() -> None:
    rules = ShortSeller(ShortSellerParameters()).rules
    assert rules.cooldown_ms == HOUR_MS
    assert rules.entries_per_day == 12
    assert rules.max_exposure == Decimal("2.1")
    assert rules.leverage == 10
    assert rules.adverse_first == "high-first"
    day, drawdown = rules.loss_limits
    assert (day.window, day.fraction, day.action, day.until) == (
        Window.DAY,
        Decimal("0.05"),
        Action.NO_ENTRIES,
        Until.WINDOW_END,
    )
    assert (drawdown.window, drawdown.fraction, drawdown.until) == (Window.DRAWDOWN, Decimal("0.20"), Until.RESUMED)


def test_a_symbol_without_its_levels_is_refused_and_named() -> None:
    with pytest.raises(ValidationError, match="stop_loss has no value for XRPUSDT"):
        ShortSellerParameters(symbols=("XRPUSDT",))


def last(bars: Bars, count: int) -> Bars:
    part = slice(len(bars) - count, None)
    return Bars(
        bars.symbol,
        bars.interval_ms,
        bars.start_ms[part],
        bars.open[part],
        bars.high[part],
        bars.low[part],
        bars.close[part],
        bars.volume[part],
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), extra=st.integers(0, 300))
def test_the_last_bars_alone_give_both_averages_to_the_bit(seed: int, extra: int) -> None:
    strategy = ShortSeller(ShortSellerParameters(ema_fast=5, ema_slow=12))
    bars = random_bars(seed, strategy.history + extra)
    whole, alone = strategy.indicators(bars), strategy.indicators(last(bars, strategy.history))
    for name, values in whole.items():
        assert not np.isnan(alone[name][-2:]).any(), name
        assert values[-2:].tobytes() == alone[name][-2:].tobytes(), name


@pytest.mark.parametrize("seed", range(4))
def test_the_hint_is_true_exactly_where_the_rule_sells(seed: int) -> None:
    strategy = ShortSeller(ShortSellerParameters(ema_fast=5, ema_slow=12))
    bars = random_bars(seed, 900)
    series = Series.of(bars, strategy.indicators(bars))
    hint = strategy.may_enter(series)
    assert hint[series.ready].any()
    for place in np.flatnonzero(series.ready).tolist():
        bar, before = series.view(place), series.view(place - 1)
        falling = bar.close < bar["ema_fast"] and bar.close < bar["ema_slow"]
        crossed = before.close >= before["ema_fast"] or before.close >= before["ema_slow"]
        assert (falling and crossed) == bool(hint[place])
        moment = BarContext(bar.start_ms, bar.end_ms, {bar.symbol: bar}, Portfolio({}))
        assert bool(strategy.evaluate(moment, StrategyState())) == bool(hint[place])


@pytest.mark.parametrize(
    ("before", "after", "sells"),
    [
        ((10.0, 10.0, 20.0), (9.0, 10.0, 20.0), True),  # on the fast average, then below: crossed
        ((10.0, 9.0, 10.0), (9.0, 9.5, 10.0), True),  # on the slow average, then below
        ((9.9, 10.0, 20.0), (9.0, 10.0, 20.0), False),  # below both before: no cross
        ((11.0, 10.0, 10.0), (10.0, 10.0, 10.5), False),  # closes on the fast average: not below
        ((11.0, 10.0, 10.0), (10.0, 10.5, 10.0), False),  # closes on the slow average: not below
    ],
)
def test_at_equality_a_close_on_an_average_is_not_below_it(
    before: tuple[float, float, float], after: tuple[float, float, float], sells: bool
) -> None:
    strategy = ShortSeller(ShortSellerParameters())
    close, fast, slow = (np.array(column) for column in zip(before, after, strict=True))
    bars = Bars("BTCUSDT", 300_000, np.array([0, 300_000]), close, close, close, close, close)
    series = Series.of(bars, {"ema_fast": fast, "ema_slow": slow})
    bar = series.view(1)
    moment = BarContext(bar.start_ms, bar.end_ms, {bar.symbol: bar}, Portfolio({}))
    assert bool(strategy.evaluate(moment, StrategyState())) is sells
