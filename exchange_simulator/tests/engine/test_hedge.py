"""Hedge mode: a long and a short leg of one symbol, each with its own orders, stops, P&L and close."""

import pytest

from exchange_simulator.engine import delivery, funding, liquidation, settings
from exchange_simulator.engine.model import ClosedPnl, Order, PositionView, Refused, Rules
from exchange_simulator.engine.orders import NewOrder
from exchange_simulator.engine.settings import HEDGE, TradingStop
from exchange_simulator.render import execution_row, order_row, position_row, text
from exchange_simulator.tests.engine.floor import BTC, ETH, D, Floor


def hedged(deposit: str = "100000", rules: Rules | None = None) -> Floor:
    floor = Floor(rules, deposit=deposit)
    settings.switch_mode(floor.engine, floor.account, BTC, HEDGE)
    floor.listen()
    return floor


def both(floor: Floor, long: str = "1", short: str = "0.4") -> None:
    floor.market("Buy", long, idx=1)
    floor.market("Sell", short, idx=2)


def sizes(floor: Floor) -> tuple[str, str]:
    return text(floor.account.size(BTC, 1)), text(floor.account.size(BTC, 2))


def test_both_legs_are_held_at_once_and_each_side_closes_its_own() -> None:
    floor = hedged()
    both(floor)
    assert sizes(floor) == ("1", "-0.4")
    floor.market("Sell", "0.3", idx=1)
    floor.market("Buy", "0.1", idx=2)
    assert sizes(floor) == ("0.7", "-0.3")
    assert floor.account.size(BTC) == 0


def test_an_order_never_flips_a_leg() -> None:
    floor = hedged()
    both(floor)
    order = floor.market("Sell", "5", idx=1)
    assert (order.cum_qty, order.status) == (D(1), "Filled")
    assert sizes(floor) == ("0", "-0.4")
    with pytest.raises(Refused) as caught:
        floor.market("Sell", "1", idx=1)
    assert caught.value.code == 110017


@pytest.mark.parametrize("idx", [0, 1])
def test_the_index_must_match_the_mode_of_the_symbol(idx: int) -> None:
    floor = hedged()
    symbol = ETH if idx else BTC
    with pytest.raises(Refused) as caught:
        floor.market("Buy", "1", symbol=symbol, idx=idx)
    assert (caught.value.code, caught.value.message) == (10001, "position idx not match position mode")
    with pytest.raises(Refused):
        settings.set_trading_stop(floor.engine, floor.account, TradingStop(symbol, idx=idx, stop_loss=D(1)))


def test_a_switch_by_coin_skips_what_is_busy_so_that_an_account_can_be_mixed() -> None:
    floor = Floor()
    floor.market("Buy", "1")
    settings.switch_coin(floor.engine, floor.account, "USDT", HEDGE)
    assert floor.account.hedged == {ETH}
    floor.market("Sell", "1", symbol=ETH, idx=2)
    settings.switch_coin(floor.engine, floor.account, "USDT", 0)
    assert floor.account.hedged == {ETH}
    floor.market("Sell", "1")
    with pytest.raises(Refused) as caught:
        settings.switch_mode(floor.engine, floor.account, ETH, 0)
    assert caught.value.code == 110024


def test_the_leverage_of_a_symbol_stays_over_a_switch() -> None:
    floor = Floor()
    settings.set_leverage(floor.engine, floor.account, BTC, D(25))
    settings.switch_mode(floor.engine, floor.account, BTC, HEDGE)
    assert [leg.leverage for leg in floor.account.legs(BTC)] == [25, 25]
    settings.set_leverage(floor.engine, floor.account, BTC, D(5))
    settings.switch_mode(floor.engine, floor.account, BTC, 0)
    assert floor.account.position(BTC).leverage == 5


def test_rows_name_the_leg_and_a_flat_leg_stays_as_a_row() -> None:
    floor = hedged()
    order = floor.market("Sell", "0.4", idx=2)
    rows = [position_row(floor.engine.position_view(floor.account, leg)) for leg in floor.account.legs(BTC)]
    assert [(row["positionIdx"], row["side"], row["size"]) for row in rows] == [(1, "", "0"), (2, "Sell", "0.4")]
    assert order_row(order)["positionIdx"] == 2
    assert "positionIdx" not in execution_row(floor.executions()[0])
    pushed = [event.position.idx for event in floor.told if isinstance(event, PositionView)]
    assert set(pushed) == {1, 2}


def test_stops_belong_to_their_leg() -> None:
    floor = hedged()
    both(floor)
    for idx, loss in ((1, 49_000), (2, 51_000)):
        settings.set_trading_stop(floor.engine, floor.account, TradingStop(BTC, idx=idx, stop_loss=D(loss)))
    floor.listen()
    waiting = {order.idx: order for order in floor.account.orders.values()}
    assert [(waiting[idx].side, waiting[idx].qty) for idx in (1, 2)] == [("Sell", 1), ("Buy", D("0.4"))]
    floor.market("Buy", "1", idx=1)
    assert (waiting[1].qty, waiting[2].qty) == (D(2), D("0.4"))
    floor.move("48900")
    assert sizes(floor) == ("0", "-0.4")
    floor.move("51000")
    assert sizes(floor) == ("0", "0")
    closed = [event for event in floor.told if isinstance(event, ClosedPnl)]
    assert [(row.side, row.closed_size) for row in closed] == [("Sell", 2), ("Buy", D("0.4"))]


def test_the_end_of_one_leg_leaves_the_orders_of_the_other() -> None:
    floor = hedged()
    both(floor)
    of_long = floor.limit("Sell", "0.5", "52000", idx=1)
    of_short = floor.limit("Buy", "0.4", "48000", idx=2)
    assert of_long.reduce_only
    floor.market("Sell", "1", idx=1)
    assert (of_long.status, of_long.cancel_type) == ("Cancelled", "CancelByReduceOnly")
    assert of_short.status == "New"


def test_attached_levels_guard_the_leg_that_the_order_opened() -> None:
    floor = hedged()
    both(floor)
    floor.market("Sell", "0.1", idx=2, stop_loss=D(50_500), take_profit=D(49_000))
    stops = [order for order in floor.account.orders.values() if order.waiting]
    assert {(order.idx, order.side, order.qty) for order in stops} == {(2, "Buy", D("0.5"))}
    with pytest.raises(Refused):
        floor.market("Buy", "0.1", idx=2, stop_loss=D(50_500))


def test_funding_is_charged_leg_by_leg() -> None:
    floor = hedged()
    both(floor)
    funding.charge(floor.engine, BTC, D("0.0001"))
    floor.listen()
    rows = floor.executions(kind="Funding")
    assert [(row.side, row.qty, row.fee) for row in rows] == [("Buy", D(1), D(5)), ("Sell", D("0.4"), D(-2))]


def test_a_delivery_closes_both_legs() -> None:
    floor = hedged()
    both(floor)
    delivery.deliver(floor.engine, BTC)
    floor.listen()
    assert sizes(floor) == ("0", "0")
    assert [(row.side, row.qty) for row in floor.executions(kind="Delivery")] == [("Sell", 1), ("Buy", D("0.4"))]
    assert floor.account.uid not in floor.engine.books[BTC].holders


def test_a_hedged_account_is_liquidated_where_it_said_and_only_the_losing_leg_says_it() -> None:
    floor = hedged(deposit="3000")
    settings.set_leverage(floor.engine, floor.account, BTC, D(50))
    both(floor)
    long, short = (floor.engine.liquidation_price(floor.account, leg) for leg in floor.account.legs(BTC))
    assert long is not None
    assert short is None
    floor.move(str(long // 1 + 10))
    assert floor.account.size(BTC, 1) == 1
    floor.move(str(long // 1 - 10))
    assert sizes(floor) == ("0", "0")
    assert len(floor.executions(kind="BustTrade")) == 2
    assert floor.account.wallet >= 0


def test_legs_of_one_size_are_liquidated_by_no_move_that_a_day_brings() -> None:
    floor = hedged(deposit="30000")
    both(floor, "1", "1")
    for price in ("30000", "80000", "50000"):
        floor.move(price)
    assert sizes(floor) == ("1", "-1")


def test_a_deleveraging_strikes_one_leg() -> None:
    floor = hedged()
    both(floor)
    floor.limit("Sell", "0.5", "52000", idx=1)
    short = floor.account.position(BTC, 2)
    liquidation.close_by_adl(floor.engine, floor.account, short, D("0.1"), D(50_000))
    events = floor.listen()
    assert sizes(floor) == ("1", "-0.3")
    assert [event.idx for event in events if isinstance(event, Order)] == [2]


def test_a_bankruptcy_deleverages_legs_of_the_other_side() -> None:
    floor = Floor(Rules(insurance_fund=D(0)), deposit="2000")
    winner = floor.open_account(2, "100000")
    settings.switch_mode(floor.engine, winner, BTC, HEDGE)
    settings.set_leverage(floor.engine, floor.account, BTC, D(50))
    floor.market("Buy", "1")
    floor.market("Sell", "2", winner, idx=2)
    floor.market("Buy", "1", winner, idx=1)
    floor.move("40000", jump=True)
    assert floor.size == 0
    assert (winner.size(BTC, 2), winner.size(BTC, 1)) == (D(-1), D(1))


def test_resting_orders_use_margin_leg_by_leg() -> None:
    floor = hedged()
    free = floor.engine.available(floor.account)
    floor.limit("Buy", "0.1", "49000", idx=1)
    floor.limit("Sell", "0.1", "51000", idx=2)
    rate = D("0.1") + D("0.0011")
    assert free - floor.engine.available(floor.account) == (D(4_900) + D(5_100)) * rate


def test_a_conditional_order_closes_its_leg_when_it_fires() -> None:
    floor = hedged()
    both(floor)
    new = NewOrder(BTC, "Sell", "Market", D(1), idx=1, trigger_price=D(49_500), trigger_direction=2)
    order = floor.place(new)
    floor.move("49400")
    assert order.status == "Filled"
    assert sizes(floor) == ("0", "-0.4")
