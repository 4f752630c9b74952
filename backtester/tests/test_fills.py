"""Where and when orders and levels are filled, on candles made for the question."""

from decimal import Decimal

import pytest

from alpha.model.reason import Reason
from backtester.venue import Costs
from tests.support.toy_strategies import HOUR_MS, START_MS, Candle, scripted

FLAT: Candle = (100.0, 101.0, 99.0, 100.0)


def test_a_decision_on_a_close_fills_at_the_next_open() -> None:
    result = scripted([FLAT, (103.0, 104.0, 102.0, 103.5), (105.0, 106.0, 104.0, 105.0)], enter=[0], leave=[1])
    [trade] = result.trades
    assert (trade.entry_price, trade.entry_ms) == (Decimal("103.0"), START_MS + HOUR_MS)
    assert (trade.exit_price, trade.exit_ms) == (Decimal("105.0"), START_MS + 2 * HOUR_MS)
    assert trade.reason is Reason.SIGNAL


def test_a_stop_inside_a_bar_fills_at_its_price() -> None:
    result = scripted([FLAT, FLAT, (99.5, 100.0, 88.0, 95.0), FLAT], enter=[0], stop="0.10")
    [trade] = result.trades
    assert (trade.exit_price, trade.reason) == (Decimal("90.00"), Reason.STOP_LOSS)


def test_a_bar_that_opens_beyond_the_stop_fills_at_its_open() -> None:
    result = scripted([FLAT, FLAT, (85.0, 92.0, 84.0, 91.0), FLAT], enter=[0], stop="0.10")
    [trade] = result.trades
    assert (trade.exit_price, trade.reason) == (Decimal("85.0"), Reason.STOP_LOSS)


def test_a_bar_that_opens_beyond_a_shorts_stop_fills_at_its_open() -> None:
    result = scripted([FLAT, FLAT, (115.0, 116.0, 108.0, 109.0), FLAT], enter=[0], stop="0.10", short=True)
    [trade] = result.trades
    assert (trade.exit_price, trade.gross) == (Decimal("115.0"), Decimal("-150.0"))


@pytest.mark.parametrize(("short", "level"), [(False, "95.00"), (True, "105.00")])
def test_when_a_bar_reaches_stop_and_target_the_stop_counts(short: bool, level: str) -> None:
    wide: Candle = (100.0, 120.0, 80.0, 100.0)
    result = scripted([FLAT, FLAT, wide, FLAT], enter=[0], stop="0.05", take_profit="0.05", short=short)
    [trade] = result.trades
    assert (trade.exit_price, trade.reason) == (Decimal(level), Reason.STOP_LOSS)


def test_a_target_alone_fills_at_its_price() -> None:
    result = scripted([FLAT, FLAT, (100.0, 120.0, 99.0, 100.0), FLAT], enter=[0], stop="0.05", take_profit="0.05")
    [trade] = result.trades
    assert (trade.exit_price, trade.reason) == (Decimal("105.00"), Reason.TAKE_PROFIT)


def test_a_bar_that_opens_beyond_the_target_fills_at_its_open() -> None:
    result = scripted([FLAT, FLAT, (110.0, 120.0, 99.0, 100.0), FLAT], enter=[0], stop="0.05", take_profit="0.05")
    [trade] = result.trades
    assert (trade.exit_price, trade.reason) == (Decimal("110.0"), Reason.TAKE_PROFIT)


def test_the_range_of_the_bar_that_decided_touches_no_position() -> None:
    result = scripted([(100.0, 150.0, 50.0, 100.0), FLAT, FLAT], enter=[0], stop="0.05", take_profit="0.05")
    assert not result.trades
    assert len(result.open_at_end) == 1


def test_a_stop_that_a_close_raises_holds_from_the_next_bar_on() -> None:
    dip: Candle = (100.0, 101.0, 96.0, 100.0)
    result = scripted([FLAT, dip, dip, FLAT], enter=[0], stop="0.10", moves={1: "98"})
    [trade] = result.trades
    assert trade.exit_ms >= START_MS + 2 * HOUR_MS
    assert (trade.exit_price, trade.reason) == (Decimal("98.00"), Reason.BREAK_EVEN)


def test_a_raised_stop_that_the_open_has_passed_closes_at_the_open() -> None:
    result = scripted([FLAT, FLAT, (97.0, 99.0, 96.0, 98.0), FLAT], enter=[0], stop="0.10", moves={1: "98"})
    [trade] = result.trades
    assert (trade.exit_price, trade.reason) == (Decimal("97.0"), Reason.BREAK_EVEN)


def test_a_lowered_stop_is_ignored() -> None:
    result = scripted([FLAT, FLAT, (99.0, 99.0, 80.0, 90.0), FLAT], enter=[0], stop="0.05", moves={1: "85"})
    [trade] = result.trades
    assert trade.exit_price == Decimal("95.00")


def test_a_trailing_stop_waits_for_its_activation() -> None:
    drop: Candle = (100.0, 101.0, 95.5, 96.0)
    result = scripted([FLAT, FLAT, drop, FLAT], enter=[0], stop="0.10", trailing="0.03", activation="0.02")
    assert not result.trades


def test_a_trailing_stop_follows_the_high_and_fires_at_its_distance() -> None:
    candles = [FLAT, FLAT, (100.0, 110.0, 100.0, 109.0), (109.0, 109.5, 105.0, 106.0), FLAT]
    result = scripted(candles, enter=[0], stop="0.10", trailing="0.03", activation="0.02")
    [trade] = result.trades
    assert (trade.exit_price, trade.reason) == (Decimal("107.00"), Reason.TRAILING_STOP)


def test_a_trailing_stop_can_activate_and_fire_in_one_bar() -> None:
    candles = [FLAT, FLAT, (100.0, 110.0, 100.0, 104.0), FLAT]
    result = scripted(candles, enter=[0], stop="0.10", trailing="0.03", activation="0.02")
    [trade] = result.trades
    assert (trade.exit_price, trade.reason) == (Decimal("107.00"), Reason.TRAILING_STOP)


def test_a_shorts_trailing_stop_follows_the_low() -> None:
    candles = [FLAT, FLAT, (100.0, 100.5, 90.0, 91.0), (91.0, 95.0, 90.5, 94.0), FLAT]
    result = scripted(candles, enter=[0], stop="0.10", trailing="0.03", activation="0.02", short=True)
    [trade] = result.trades
    assert (trade.exit_price, trade.reason) == (Decimal("93.00"), Reason.TRAILING_STOP)


def test_slippage_is_paid_on_both_sides_and_on_the_tick_against_the_taker() -> None:
    costs = Costs(Decimal(0), Decimal("1.5"))
    candles = [FLAT, (100.01, 101.0, 99.0, 100.0), (100.01, 101.0, 99.0, 100.0), FLAT]
    [trade] = scripted(candles, enter=[0], leave=[1], costs=costs).trades
    assert (trade.entry_price, trade.exit_price) == (Decimal("100.03"), Decimal("99.99"))


def test_fees_are_the_rate_times_the_value_of_both_sides() -> None:
    costs = Costs(Decimal("0.001"), Decimal(0))
    candles = [FLAT, FLAT, (110.0, 111.0, 109.0, 110.0), FLAT]
    [trade] = scripted(candles, enter=[0], leave=[1], costs=costs).trades
    assert trade.fees == Decimal("1.000") + Decimal("1.100")
    assert trade.net == Decimal("97.900")


@pytest.mark.parametrize(("short", "received"), [(False, "-2.000"), (True, "2.000")])
def test_longs_pay_funding_to_shorts_at_its_times(short: bool, received: str) -> None:
    result = scripted([FLAT] * 20, enter=[2], leave=[16], funding="0.001", short=short, stop="0.2")
    [trade] = result.trades
    assert trade.funding == Decimal(received)


def test_a_position_that_opens_at_a_funding_time_pays_from_the_next_one_on() -> None:
    result = scripted([FLAT] * 20, enter=[7], leave=[10], funding="0.001", stop="0.2")
    [trade] = result.trades
    assert trade.entry_ms == START_MS + 8 * HOUR_MS
    assert trade.funding == 0


def test_an_entry_the_margin_does_not_cover_is_not_made() -> None:
    result = scripted([FLAT] * 4, enter=[0], usdt="30000", leverage="2")
    assert not result.trades
    assert result.skipped == {"not enough margin": 1}


def test_an_account_that_cannot_carry_its_loss_is_liquidated_before_the_stop() -> None:
    crash: Candle = (100.0, 100.0, 60.01, 62.0)
    result = scripted([FLAT, FLAT, crash, FLAT], enter=[0], usdt="90000", leverage="10", stop="0.5")
    [trade] = result.trades
    assert trade.reason is Reason.LIQUIDATION
    assert Decimal(88) < trade.exit_price < Decimal(91)
    assert Decimal(0) <= result.end_equity < Decimal(50)


def test_a_stop_before_the_liquidation_price_saves_the_rest() -> None:
    crash: Candle = (100.0, 100.0, 60.01, 62.0)
    result = scripted([FLAT, FLAT, crash, FLAT], enter=[0], usdt="90000", leverage="10", stop="0.05")
    [trade] = result.trades
    assert (trade.reason, trade.exit_price) == (Reason.STOP_LOSS, Decimal("95.00"))


def test_a_position_the_data_end_in_is_marked_and_not_counted_as_a_trade() -> None:
    result = scripted([FLAT, FLAT, (105.0, 106.0, 104.0, 105.0)], enter=[0])
    [held] = result.open_at_end
    assert not result.trades
    assert held.unrealised == Decimal("50.0")
    assert result.end_equity == Decimal("10050.0")
    assert result.equity.tolist() == [10_000.0, 10_000.0, 10_050.0]
