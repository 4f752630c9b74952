"""Liquidation and auto-deleveraging."""

from exchange_simulator.engine import liquidation, settings
from exchange_simulator.engine.model import Liquidated, Order, Rules
from exchange_simulator.tests.engine.floor import BTC, ETH, D, Floor


def geared(floor: Floor) -> None:
    settings.set_leverage(floor.engine, floor.account, BTC, D(50))


def test_a_position_is_taken_over_at_the_liquidation_price_it_showed() -> None:
    floor = Floor(deposit="2000")
    geared(floor)
    floor.market("Buy", "1")
    shown = floor.last_position().liq_price
    assert shown is not None
    floor.move(str(shown + D("0.1")))
    assert floor.size == 1
    events = floor.move(str(shown - 100))
    assert floor.size == 0
    (bust,) = floor.executions(kind="BustTrade")
    assert bust.create_type == "CreateByTakeOver_PassThrough"
    assert bust.price < shown
    assert [e.qty for e in events if isinstance(e, Liquidated)] == [D(1)]


def test_after_a_liquidation_the_balance_is_not_negative_even_after_a_gap() -> None:
    for target, jump in (("40000", False), ("40000", True), ("1000", True)):
        floor = Floor(deposit="2000")
        geared(floor)
        floor.market("Buy", "1")
        floor.move(target, jump=jump)
        assert floor.size == 0
        assert 0 <= floor.account.wallet < 3
        totals = floor.account.totals
        assert floor.account.wallet == totals.deposits + totals.gross - totals.fees + totals.funding


def test_a_short_is_liquidated_when_the_price_rises() -> None:
    floor = Floor(deposit="2000")
    geared(floor)
    floor.market("Sell", "1")
    shown = floor.last_position().liq_price
    assert shown is not None
    assert shown > 50_000
    floor.move("53000")
    assert floor.size == 0
    assert len(floor.executions(kind="BustTrade")) == 1


def test_a_stop_before_the_liquidation_price_saves_the_rest() -> None:
    floor = Floor(deposit="2000")
    geared(floor)
    floor.market("Buy", "1", stop_loss=D(49_500))
    floor.move("40000")
    assert not floor.executions(kind="BustTrade")
    assert floor.account.wallet > 1_400


def test_liquidation_cancels_every_order_of_the_account_and_closes_every_position() -> None:
    floor = Floor(deposit="4000")
    geared(floor)
    floor.market("Buy", "1")
    floor.market("Buy", "3", symbol=ETH)
    resting = floor.limit("Buy", "0.1", "2000", symbol=ETH)
    floor.move("40000")
    assert resting.cancel_type == "CancelAllBeforeLiq"
    assert not floor.account.orders
    assert not floor.account.held()


def test_a_gap_is_paid_by_the_insurance_fund() -> None:
    floor = Floor(deposit="2000")
    geared(floor)
    before = floor.engine.insurance
    floor.market("Buy", "1")
    floor.move("45000", jump=True)
    assert floor.engine.insurance < before - 2_500


def test_when_the_fund_is_empty_the_other_side_is_deleveraged_at_the_bankruptcy_price() -> None:
    floor = Floor(Rules(insurance_fund=D(0)), deposit="2000")
    winner = floor.open_account(2, "100000")
    bystander = floor.open_account(3, "100000")
    geared(floor)
    floor.market("Sell", "3", account=winner)
    floor.market("Buy", "2", account=bystander)
    floor.market("Buy", "1")
    floor.move("45000", jump=True)
    (bust,), (adl,) = floor.executions(1, "BustTrade"), floor.executions(2, "AdlTrade")
    assert adl.price == bust.price
    assert (adl.qty, adl.create_type) == (D(1), "CreateByAdl_PassThrough")
    assert winner.size(BTC) == -2
    assert bystander.size(BTC) == 2
    assert floor.engine.insurance == 0


def test_a_deleveraging_asked_for_reduces_the_position() -> None:
    floor = Floor()
    floor.market("Sell", "2")
    liquidation.close_by_adl(floor.engine, floor.account, floor.account.position(BTC), D("0.5"), D(50_000))
    floor.listen()
    assert floor.size == D("-1.5")
    assert floor.executions(kind="AdlTrade")[0].closed_size == D("0.5")


def large(floor: Floor) -> None:
    """A position of 5,000,000 USDT: in the third tier (above 4,000,000), at the maximum leverage of that tier."""
    settings.set_leverage(floor.engine, floor.account, BTC, D(25))
    floor.market("Buy", "50")
    floor.market("Buy", "50")


def test_a_position_of_a_higher_tier_is_reduced_to_the_next_lower_one_and_lives_on() -> None:
    floor = Floor(deposit="250000")
    large(floor)
    limits = [tier.limit_value for tier in floor.engine.instruments[BTC].risk_tiers]
    resting = floor.limit("Buy", "0.1", "2900", symbol=ETH)
    shown = floor.last_position().liq_price
    assert shown is not None
    floor.move(str(shown + D("0.1")))
    assert floor.size == 100
    floor.move(str(shown - D("0.1")))
    (reduced,) = [fill for fill in floor.executions() if fill.create_type == "CreateByLiq"]
    assert (reduced.exec_type, reduced.order_type, reduced.side) == ("Trade", "Market", "Sell")
    assert reduced.price == shown - D("0.1")
    value = floor.size * reduced.price
    assert limits[1] - D("0.001") * shown < value <= limits[1], "no more than the excess was sold"
    assert resting.cancel_type == "CancelAllBeforeLiq"
    assert floor.engine.equity(floor.account) > floor.engine.maintenance(floor.account)
    assert not floor.executions(kind="BustTrade")


def test_a_fall_goes_down_the_tiers_one_by_one_and_ends_in_a_take_over() -> None:
    floor = Floor(deposit="250000")
    large(floor)
    floor.move("40000")
    steps = [fill for fill in floor.executions() if fill.create_type == "CreateByLiq"]
    (bust,) = floor.executions(kind="BustTrade")
    assert len(steps) == 2
    assert [fill.price for fill in steps] == sorted((fill.price for fill in steps), reverse=True)
    assert bust.price < steps[-1].price
    assert bust.qty * steps[-1].price <= floor.engine.instruments[BTC].risk_tiers[0].limit_value
    assert floor.size == 0
    assert floor.account.wallet >= 0


def test_a_jump_past_every_tier_takes_all_over_at_once() -> None:
    floor = Floor(deposit="250000")
    large(floor)
    floor.move("40000", jump=True)
    assert floor.size == 0
    assert floor.account.wallet >= 0
    assert floor.executions(kind="BustTrade")


def test_a_book_that_cannot_take_the_excess_whole_leaves_the_position_to_the_take_over() -> None:
    floor = Floor(Rules(depth_usdt=D(1_000)), deposit="250000")
    settings.set_leverage(floor.engine, floor.account, BTC, D(25))
    floor.limit("Buy", "100", "49999")
    floor.move("49990")
    assert floor.size == 100
    floor.move("40000")
    killed = [e for e in floor.told if isinstance(e, Order) and e.create_type == "CreateByLiq"]
    assert {(order.status, order.reject_reason) for order in killed} == {("Cancelled", "EC_NoEnoughQtyToFill")}
    (bust,) = floor.executions(kind="BustTrade")
    assert bust.qty == 100


def test_a_fill_far_from_the_mark_that_leaves_too_little_margin_ends_in_liquidation_at_once() -> None:
    floor = Floor(Rules(slippage_bps=D(60)), deposit="1120")
    settings.set_leverage(floor.engine, floor.account, BTC, D(100))
    floor.market("Buy", "2")
    assert [fill.exec_type for fill in floor.executions()] == ["Trade", "BustTrade"]
    assert not floor.account.held()
    assert floor.account.wallet >= 0
