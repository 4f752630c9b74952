"""Account limits inside a bar: they see its open, its extremes and its close, in the order of the walk."""

from collections.abc import Sequence
from decimal import Decimal

import pytest

from alpha.errors import Misconfigured
from alpha.model.reason import Reason
from alpha.strategy.risk_rules import Action, LossLimit, OpenProfitLimit, Rules, Until, Window
from backtester.result import Result
from tests.support.toy_strategies import (
    HOUR_MS,
    START_MS,
    Candle,
    Crossing,
    CrossingParameters,
    Scripted,
    ScriptParameters,
    backtest_of,
    bars_of,
    market,
    random_bars,
)

FLAT: Candle = (100.0, 101.0, 99.0, 100.0)
THIRD = HOUR_MS // 3


def limited(candles: Sequence[Candle], rules: Rules, **script: object) -> Result:
    strategy = Scripted(ScriptParameters.model_validate({"of_equity": "1", "stop": "0.5", **script}))
    strategy.account = rules
    return backtest_of(strategy, market(bars_of(candles)))


def rules(*limits: LossLimit, profit: OpenProfitLimit | None = None) -> Rules:
    return Rules(Decimal(10), "low-first", loss_limits=limits, open_profit=profit)


def test_a_peak_inside_a_bar_is_what_the_drawdown_is_measured_from() -> None:
    limit = LossLimit(Window.DRAWDOWN, Decimal("0.05"), Action.NO_ENTRIES, Until.RESUMED)
    spike: Candle = (100.0, 120.0, 99.5, 113.0)
    result = limited([FLAT, FLAT, spike, (113.0, 113.0, 113.0, 113.0)], rules(limit), enter=[0])
    assert [hit.time_ms for hit in result.limit_hits] == [START_MS + 3 * HOUR_MS - 1]


def test_a_fall_inside_a_bar_closes_all_at_the_extreme_that_met_the_limit() -> None:
    limit = LossLimit(Window.DAY, Decimal("0.04"), Action.CLOSE_ALL, Until.WINDOW_END)
    result = limited([FLAT, FLAT, (100.0, 101.0, 94.0, 100.0), FLAT, FLAT, FLAT], rules(limit), enter=[0, 3])
    [trade] = result.trades
    assert (trade.reason, trade.exit_price) == (Reason.RISK_LIMIT, Decimal("94.0"))
    assert trade.exit_ms == START_MS + 2 * HOUR_MS + THIRD
    assert result.skipped == {"the limit day_close_all is in force": 1}


def test_a_limit_of_the_day_ends_with_the_day() -> None:
    limit = LossLimit(Window.DAY, Decimal("0.04"), Action.CLOSE_ALL, Until.WINDOW_END)
    candles = [FLAT, FLAT, (100.0, 101.0, 94.0, 100.0), *[FLAT] * 30]
    result = limited(candles, rules(limit), enter=[0, 22, 23])
    assert result.skipped == {"the limit day_close_all is in force": 1}
    assert [held.entry_ms for held in result.open_at_end] == [START_MS + 24 * HOUR_MS]


def test_open_profit_that_melts_away_closes_all_where_it_was_seen() -> None:
    limit = OpenProfitLimit(Decimal(500), Decimal("0.30"))
    rise: Candle = (100.0, 110.0, 100.0, 109.0)
    fall: Candle = (109.0, 109.0, 105.0, 108.0)
    result = limited([FLAT, FLAT, rise, fall, FLAT], rules(profit=limit), enter=[0])
    [trade] = result.trades
    assert (trade.reason, trade.exit_price) == (Reason.RISK_LIMIT, Decimal("105.0"))
    assert trade.exit_ms == START_MS + 3 * HOUR_MS + THIRD


def test_a_size_is_halved_while_a_limit_says_so() -> None:
    limit = LossLimit(Window.WEEK, Decimal("0.04"), Action.HALF_SIZE, Until.WINDOW_END)
    candles = [FLAT, (100.0, 100.0, 95.0, 95.0), (95.0, 95.0, 95.0, 95.0), *[(100.0, 100.0, 100.0, 100.0)] * 3]
    result = limited(candles, rules(limit), enter=[0, 3], leave=[1])
    [first] = result.trades
    [second] = result.open_at_end
    assert first.size == 100
    assert second.size == Decimal(95) / 2 // 1


def test_a_leverage_above_what_an_instrument_allows_is_refused_with_the_maximum() -> None:
    class Bold(Crossing):
        @property
        def rules(self) -> Rules:
            return Rules(Decimal(100), "low-first")

    with pytest.raises(Misconfigured, match="The leverage is 100, and XUSDT allows 25 at most"):
        backtest_of(Bold(CrossingParameters()), market(random_bars(1, 100)))
