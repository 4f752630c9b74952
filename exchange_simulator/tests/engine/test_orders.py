"""Order validation and order life cycle."""

from dataclasses import replace
from typing import Any

import pytest

from exchange_simulator.engine import orders
from exchange_simulator.engine.amend import Amendment, amend
from exchange_simulator.engine.model import Order, PositionView, Refused, Rules
from exchange_simulator.engine.orders import NewOrder
from exchange_simulator.tests.engine.floor import BTC, ETH, D, Floor


def refusal(floor: Floor, **more: Any) -> int:
    base: dict[str, Any] = {"symbol": BTC, "side": "Buy", "order_type": "Limit", "qty": D("0.1"), "price": D(49_000)}
    with pytest.raises(Refused) as caught:
        floor.place(NewOrder(**{**base, **more}))
    return caught.value.code


def test_a_market_order_fills_wholly_at_the_price_when_the_book_has_no_spread_and_no_end() -> None:
    floor = Floor()
    order = floor.market("Buy", "1.5")
    (fill,) = floor.executions()
    assert (fill.price, fill.qty, fill.is_maker) == (D(50_000), D("1.5"), False)
    assert fill.fee == D(50_000) * D("1.5") * D("0.00055")
    assert order.status == "Filled"
    assert floor.states(order) == ["Filled"]


def test_spread_and_slippage_are_paid_by_the_taker_and_not_by_the_maker() -> None:
    floor = Floor(Rules(spread_ticks=2, slippage_bps=D(2)))
    floor.market("Buy", "0.1")
    floor.market("Sell", "0.1")
    assert [fill.price for fill in floor.executions()] == [D("50010.2"), D("49989.9")]
    floor.limit("Buy", "0.1", "49900")
    floor.move("49000")
    assert floor.executions()[-1].price == D(49_900)


def test_a_book_with_depth_fills_a_market_order_in_parts_ever_further_away() -> None:
    floor = Floor(Rules(depth_usdt=D(10_000)))
    floor.market("Buy", "1")
    fills = floor.executions()
    assert len(fills) > 2
    assert [fill.price for fill in fills] == sorted(fill.price for fill in fills)
    assert sum(fill.qty for fill in fills) == 1
    assert len({fill.seq for fill in fills}) == 1


def test_a_market_order_larger_than_the_book_inside_the_band_is_cancelled_with_the_rest() -> None:
    floor = Floor(Rules(depth_usdt=D(100)))
    order = floor.market("Buy", "5")
    assert order.status == "Cancelled"
    assert order.reject_reason == "EC_CancelForNoFullFill"
    assert 0 < order.cum_qty < 5
    assert floor.size == order.cum_qty


def test_a_limit_order_rests_and_fills_at_its_own_price_as_maker() -> None:
    floor = Floor()
    order = floor.limit("Buy", "0.2", "49500")
    assert floor.states(order) == ["New"]
    floor.move("49600")
    assert order.status == "New"
    floor.move("49400")
    (fill,) = floor.executions()
    assert (fill.price, fill.is_maker, fill.fee_rate) == (D(49_500), True, D("0.0002"))
    assert floor.states(order) == ["New", "Filled"]


def test_a_resting_order_touched_but_not_passed_fills_in_parts() -> None:
    floor = Floor(Rules(depth_usdt=D(5_000)))
    order = floor.limit("Buy", "1", "49500")
    floor.move("49500")
    assert order.status == "PartiallyFilled"
    touched = order.cum_qty
    assert 0 < touched < 1
    floor.move("49499")
    assert floor.states(order) == ["New", "PartiallyFilled", "Filled"]
    assert sum(fill.qty for fill in floor.executions()) == 1


def test_a_crossing_limit_order_takes_and_the_rest_rests() -> None:
    floor = Floor(Rules(depth_usdt=D(5_000)))
    order = floor.limit("Buy", "1", "50010")
    assert order.status == "PartiallyFilled"
    assert all(fill.price <= D(50_010) and not fill.is_maker for fill in floor.executions())
    assert order.order_id in floor.account.orders


@pytest.mark.parametrize(
    ("tif", "qty", "status", "reason"),
    [
        ("PostOnly", "0.1", "Cancelled", "EC_PostOnlyWillTakeLiquidity"),
        ("FOK", "2", "Cancelled", "EC_NoEnoughQtyToFill"),
        ("IOC", "2", "Cancelled", "EC_CancelForNoFullFill"),
    ],
)
def test_time_in_force_decides_what_happens_to_an_order_that_meets_too_much_or_too_little(
    tif: str, qty: str, status: str, reason: str
) -> None:
    floor = Floor(Rules(depth_usdt=D(5_000)))
    order = floor.limit("Buy", qty, "50001", time_in_force=tif)
    assert (order.status, order.reject_reason) == (status, reason)
    assert (order.cum_qty > 0) == (tif == "IOC")
    assert not floor.account.orders


def test_a_fill_or_kill_order_the_book_can_serve_is_filled() -> None:
    floor = Floor()
    assert floor.limit("Buy", "2", "50001", time_in_force="FOK").status == "Filled"


def test_an_ioc_order_that_meets_nothing_is_cancelled_without_a_fill() -> None:
    floor = Floor()
    order = floor.limit("Buy", "1", "49000", time_in_force="IOC")
    assert (order.status, order.reject_reason) == ("Cancelled", "EC_NoImmediateQtyToFill")


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"symbol": "NOPEUSDT"}, 10001),
        ({"qty": D("0.0001")}, 10001),
        ({"qty": D(0)}, 10001),
        ({"qty": D(-1)}, 10001),
        ({"qty": D("0.0015")}, 10001),
        ({"qty": D(1_000_000)}, 10001),
        ({"price": D("49000.05")}, 10001),
        ({"price": None}, 10001),
        ({"price": D(60_000)}, 110003),
        ({"side": "Sell", "price": D(40_000)}, 110003),
        ({"link_id": "x" * 37}, 10001),
        ({"link_id": "no spaces"}, 10001),
        ({"qty": D(100)}, 110007),
        ({"reduce_only": True}, 110017),
        ({"stop_loss": D(49_500)}, 10001),
        ({"take_profit": D(48_000)}, 10001),
        ({"side": "Sell", "price": D(51_000), "stop_loss": D(50_500)}, 10001),
        ({"take_profit": D(51_000), "tp_order_type": "Limit", "tp_limit_price": D(51_000)}, 110057),
        ({"reduce_only": True, "stop_loss": D(48_000)}, 10001),
        ({"trigger_price": D(49_000)}, 10001),
        ({"trigger_price": D(49_000), "trigger_direction": 1}, 110092),
        ({"trigger_price": D(51_000), "trigger_direction": 2}, 110093),
        ({"symbol": ETH, "qty": D("0.01"), "price": D(100)}, 110094),
    ],
)
def test_an_order_against_the_rules_is_refused_with_the_documented_code(more: dict[str, object], code: int) -> None:
    floor = Floor()
    assert refusal(floor, **more) == code
    assert not floor.account.orders
    assert not floor.executions()


def test_the_501st_active_and_the_11th_conditional_order_are_refused() -> None:
    floor = Floor()
    for _ in range(500):
        floor.limit("Buy", "0.001", "46000")
    assert refusal(floor, qty=D("0.001")) == 110020
    for _ in range(10):
        floor.limit("Buy", "0.001", "51000", trigger_price=D(51_000), trigger_direction=1)
    assert refusal(floor, price=D(51_000), trigger_price=D(51_000), trigger_direction=1) == 110009


def test_reduce_only_never_turns_a_position_around() -> None:
    floor = Floor()
    floor.market("Buy", "1")
    order = floor.market("Sell", "3", reduce_only=True)
    assert floor.size == 0
    assert (order.status, order.cum_qty, order.qty) == ("Filled", D(1), D(1))


def test_resting_reduce_only_orders_shrink_with_the_position_and_end_with_it() -> None:
    floor = Floor()
    floor.market("Buy", "1")
    order = floor.limit("Sell", "1", "51000", reduce_only=True)
    floor.market("Sell", "0.4")
    assert order.leaves == D("0.6")
    floor.market("Sell", "0.6")
    assert (order.status, order.cancel_type) == ("Cancelled", "CancelByReduceOnly")


def test_quantity_zero_with_reduce_only_and_close_on_trigger_closes_everything() -> None:
    floor = Floor()
    floor.market("Sell", "0.7")
    floor.market("Buy", "0", reduce_only=True, close_on_trigger=True)
    assert floor.size == 0


def test_a_conditional_order_waits_triggers_and_then_trades() -> None:
    floor = Floor()
    order = floor.market("Buy", "0.1", trigger_price=D(51_000), trigger_direction=1)
    assert order.status == "Untriggered"
    floor.move("50999.9")
    assert order.status == "Untriggered"
    floor.move("52000")
    assert floor.states(order) == ["Untriggered", "Triggered", "Filled"]
    assert floor.executions()[0].price == D(51_000)


def test_a_conditional_order_cancelled_in_time_is_deactivated() -> None:
    floor = Floor()
    order = floor.market("Buy", "0.1", trigger_price=D(51_000), trigger_direction=1)
    orders.cancel(floor.engine, floor.account, order)
    assert (order.status, order.cancel_type) == ("Deactivated", "CancelByUser")
    floor.move("52000")
    assert not floor.executions()


def test_a_conditional_order_without_margin_is_cancelled_when_it_triggers() -> None:
    floor = Floor(deposit="1000")
    order = floor.market("Buy", "10", trigger_price=D(51_000), trigger_direction=1)
    floor.move("51500")
    assert floor.states(order) == ["Untriggered", "Triggered", "Cancelled"]
    assert not floor.executions()


def test_an_index_order_looks_at_the_index_and_not_at_the_last_price() -> None:
    floor = Floor()
    floor.engine.index_price = lambda symbol, time_ms, last: last - 1_000
    order = floor.market("Buy", "0.1", trigger_price=D(51_000), trigger_direction=1, trigger_by="IndexPrice")
    floor.move("51500")
    assert order.status == "Untriggered"
    floor.move("52000")
    assert order.status == "Filled"


def test_amending_moves_price_and_quantity_and_a_crossing_price_trades_at_once() -> None:
    floor = Floor()
    order = floor.limit("Buy", "0.5", "49000")
    amend(floor.engine, floor.account, order, Amendment(qty=D("0.3"), price=D(49_500)))
    floor.move("49400")
    assert (order.status, order.cum_qty) == ("Filled", D("0.3"))
    other = floor.limit("Buy", "0.5", "49000")
    amend(floor.engine, floor.account, other, Amendment(price=D(49_450)))
    assert other.status == "Filled"
    floor.listen()
    assert floor.executions()[-1].price == D(49_400)


def test_an_amended_order_no_longer_fills_at_its_old_price() -> None:
    floor = Floor()
    order = floor.limit("Buy", "0.5", "49500")
    amend(floor.engine, floor.account, order, Amendment(price=D(49_000)))
    floor.move("49100")
    assert order.status == "New"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (Amendment(qty=D("0.5")), 10001),
        (Amendment(qty=D("0.0001")), 10001),
        (Amendment(price=D("49000.01")), 10001),
        (Amendment(trigger_price=D(48_000)), 10001),
        (Amendment(qty=D(90)), 110007),
        (Amendment(stop_loss=D(49_500)), 10001),
    ],
)
def test_an_amendment_against_the_rules_is_refused_and_changes_nothing(change: Amendment, code: int) -> None:
    floor = Floor()
    order = floor.limit("Buy", "0.5", "49000")
    with pytest.raises(Refused) as caught:
        amend(floor.engine, floor.account, order, change)
    assert caught.value.code == code
    assert (order.qty, order.price, order.status) == (D("0.5"), D(49_000), "New")
    free = floor.engine.available(floor.account)
    orders.cancel(floor.engine, floor.account, order)
    assert floor.engine.orders_margin(floor.account) == 0
    assert floor.engine.available(floor.account) > free


def test_a_quantity_not_above_what_has_filled_is_refused() -> None:
    floor = Floor(Rules(depth_usdt=D(5_000)))
    order = floor.limit("Buy", "1", "50010")
    with pytest.raises(Refused) as caught:
        amend(floor.engine, floor.account, order, Amendment(qty=order.cum_qty))
    assert caught.value.code == 110064


def test_creating_amending_and_cancelling_each_push_the_position_even_without_a_change() -> None:
    floor = Floor()
    engine, account = floor.engine, floor.account
    order = orders.create(engine, account, NewOrder(BTC, "Buy", "Limit", D("0.1"), D(49_000)))
    assert [type(e) for e in engine.drain()] == [Order, PositionView]
    amend(engine, account, order, Amendment(price=D(48_000)))
    assert [type(e) for e in engine.drain()] == [Order, PositionView]
    orders.cancel(engine, account, order)
    assert [type(e) for e in engine.drain()] == [Order, PositionView]


def test_resting_orders_use_margin_and_give_it_back() -> None:
    floor = Floor()
    free = floor.engine.available(floor.account)
    order = floor.limit("Buy", "1", "49000")
    assert free - floor.engine.available(floor.account) == D(49_000) * (D("0.1") + D("0.0011"))
    orders.cancel(floor.engine, floor.account, order)
    assert floor.engine.available(floor.account) == free


def test_an_order_that_only_closes_the_position_uses_no_margin() -> None:
    floor = Floor(deposit="5300")
    floor.market("Buy", "1")
    floor.limit("Sell", "1", "51000")
    assert floor.engine.orders_margin(floor.account) == 0


@pytest.mark.parametrize(("held", "parts"), [("2.5", ["1", "1", "0.5"]), ("1", ["1"]), ("5", ["1", "1", "1", "1"])])
def test_a_reduce_only_order_above_the_largest_size_is_split_and_never_closes_more_than_is_held(
    held: str, parts: list[str]
) -> None:
    floor = Floor()
    floor.market("Buy", held)
    small = replace(floor.engine.instruments[BTC], max_mkt_order_qty=D(1))
    floor.engine.instruments[BTC] = small  # type: ignore[index]
    first = floor.market("Sell", "4", reduce_only=True, link_id="mine")
    sold = [fill for fill in floor.executions() if fill.side == "Sell"]
    assert [fill.qty for fill in sold] == [D(part) for part in parts]
    assert (sold[0].order_id, first.link_id) == (first.order_id, "mine")
    assert len({fill.order_id for fill in sold}) == len(parts)
    assert floor.size == max(D(held) - 4, D(0))


def test_a_position_shows_the_risk_limit_tier_that_its_value_falls_in() -> None:
    floor = Floor(deposit="100000000")
    low, high = floor.engine.instruments[BTC].risk_tiers[:2]
    for qty, tier in (("1", low), (str((low.limit_value / 50_000).to_integral_value() + 1), high)):
        floor.market("Buy", qty)
        view = next(told for told in reversed(floor.told) if isinstance(told, PositionView))
        assert (view.risk_id, view.risk_limit) == (tier.id, tier.limit_value)
