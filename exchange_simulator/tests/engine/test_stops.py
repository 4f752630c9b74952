"""Take profit, stop loss and trailing stop of a position."""

from typing import Any

import pytest

from exchange_simulator.engine import settings
from exchange_simulator.engine.amend import Amendment, amend
from exchange_simulator.engine.model import Refused, Rules
from exchange_simulator.engine.settings import TradingStop
from exchange_simulator.tests.engine.floor import BTC, D, Floor


def set_stop(floor: Floor, **more: Any) -> None:
    settings.set_trading_stop(floor.engine, floor.account, TradingStop(BTC, **more))
    floor.listen()


def code_of(floor: Floor, **more: Any) -> int:
    with pytest.raises(Refused) as caught:
        set_stop(floor, **more)
    return caught.value.code


def test_stops_on_an_order_become_orders_of_the_exchange_when_it_fills() -> None:
    floor = Floor()
    order = floor.limit("Buy", "1", "49000", link_id="entry", take_profit=D(52_000), stop_loss=D(48_000))
    assert not floor.stops()
    floor.move("48900")
    stops = floor.stops()
    assert {kind: stop.trigger_price for kind, stop in stops.items()} == {
        "TakeProfit": D(52_000),
        "StopLoss": D(48_000),
    }
    assert all(stop.reduce_only and stop.side == "Sell" and stop.qty == 1 for stop in stops.values())
    assert all(stop.parent_link_id == order.link_id for stop in stops.values())


def test_a_stop_met_on_the_way_fills_at_its_own_price_and_clears_its_partner() -> None:
    floor = Floor()
    floor.market("Sell", "1", take_profit=D(48_000), stop_loss=D(51_000))
    partner = floor.stops()["TakeProfit"]
    floor.move("53000")
    fill = floor.executions()[-1]
    assert (fill.price, fill.create_type, fill.stop_order_type) == (D(51_000), "CreateByStopLoss", "StopLoss")
    assert floor.size == 0
    assert (partner.status, partner.cancel_type) == ("Deactivated", "CancelByTpSlTsClear")


def test_a_stop_jumped_over_fills_at_the_price_jumped_to() -> None:
    floor = Floor()
    floor.market("Sell", "1", stop_loss=D(51_000))
    floor.move("51700", jump=True)
    assert floor.executions()[-1].price == D(51_700)


def test_a_take_profit_jumped_over_fills_at_the_price_jumped_to() -> None:
    floor = Floor()
    floor.market("Sell", "1", take_profit=D(49_000))
    floor.move("48700", jump=True)
    assert floor.executions()[-1].price == D(48_700)
    assert floor.executions()[-1].stop_order_type == "TakeProfit"


def test_stops_follow_the_size_of_the_position() -> None:
    floor = Floor()
    floor.market("Buy", "1", stop_loss=D(48_000))
    floor.market("Buy", "0.5")
    assert floor.stops()["StopLoss"].qty == D("1.5")
    floor.market("Sell", "1.2")
    assert floor.stops()["StopLoss"].qty == D("0.3")
    floor.move("47000")
    assert floor.size == 0


def test_the_size_of_a_whole_position_stop_cannot_be_amended_but_its_price_can() -> None:
    floor = Floor()
    floor.market("Buy", "1", stop_loss=D(48_000))
    stop = floor.stops()["StopLoss"]
    with pytest.raises(Refused) as caught:
        amend(floor.engine, floor.account, stop, Amendment(qty=D("0.5")))
    assert caught.value.code == 110060
    amend(floor.engine, floor.account, stop, Amendment(trigger_price=D(49_000)))
    floor.move("48500")
    assert floor.executions()[-1].price == D(49_000)


def test_closing_the_position_clears_its_stops() -> None:
    floor = Floor()
    floor.market("Buy", "1", stop_loss=D(48_000), take_profit=D(53_000))
    floor.market("Sell", "1")
    assert not floor.account.orders
    floor.move("40000")
    assert floor.size == 0


def test_a_flip_clears_the_stops_of_the_old_side() -> None:
    floor = Floor()
    floor.market("Buy", "1", stop_loss=D(48_000))
    floor.market("Sell", "2")
    assert not floor.stops()
    floor.move("47000")
    assert floor.size == -1


def test_trading_stop_sets_moves_and_clears() -> None:
    floor = Floor()
    floor.market("Buy", "1")
    set_stop(floor, stop_loss=D(48_000), take_profit=D(53_000))
    stop = floor.stops()["StopLoss"]
    set_stop(floor, stop_loss=D(49_000))
    assert floor.stops()["StopLoss"] is stop
    assert stop.trigger_price == D(49_000)
    assert floor.last_position().stop_loss == D(49_000)
    set_stop(floor, take_profit=D(0))
    assert set(floor.stops()) == {"StopLoss"}
    assert code_of(floor, stop_loss=D(49_000)) == 34040
    floor.move("48500")
    assert floor.executions()[-1].price == D(49_000)


@pytest.mark.parametrize(
    "wrong",
    [{"stop_loss": D(50_000)}, {"stop_loss": D(51_000)}, {"take_profit": D(50_000)}, {"stop_loss": D("49000.03")}],
)
def test_a_stop_on_the_wrong_side_or_between_ticks_is_refused(wrong: dict[str, object]) -> None:
    floor = Floor()
    floor.market("Buy", "1")
    assert code_of(floor, **wrong) == 10001
    assert not floor.stops()


def test_a_stop_without_a_position_is_refused() -> None:
    assert code_of(Floor(), stop_loss=D(48_000)) == 10001


def test_a_trailing_stop_follows_the_best_price_at_its_distance() -> None:
    floor = Floor()
    floor.market("Buy", "1")
    set_stop(floor, trailing_stop=D(500))
    floor.move("51000")
    floor.move("50600")
    assert floor.size == 1
    floor.move("50000")
    fill = floor.executions()[-1]
    assert (fill.price, fill.create_type) == (D(50_500), "CreateByTrailingStop")


def test_a_trailing_stop_sleeps_until_its_activation_price() -> None:
    floor = Floor()
    floor.market("Sell", "1")
    set_stop(floor, trailing_stop=D(500), active_price=D(49_000))
    floor.move("49100")
    floor.move("50500")
    assert floor.size == -1
    floor.move("48800")
    floor.move("49400")
    assert floor.executions()[-1].price == D(49_300)


def test_a_trailing_stop_does_not_fire_on_the_way_that_activates_it() -> None:
    floor = Floor()
    floor.market("Buy", "1")
    set_stop(floor, trailing_stop=D(1_000), active_price=D(51_000))
    floor.move("54000")
    assert floor.size == 1
    floor.move("53100")
    assert floor.size == 1
    floor.move("52900")
    assert floor.executions()[-1].price == D(53_000)


def test_trailing_stop_zero_takes_it_away() -> None:
    floor = Floor()
    floor.market("Buy", "1")
    set_stop(floor, trailing_stop=D(500))
    set_stop(floor, trailing_stop=D(0))
    floor.move("40000")
    assert floor.size == 1


@pytest.mark.parametrize("active", [D(50_000), D(49_000)])
def test_an_activation_price_already_passed_is_refused(active: D) -> None:
    floor = Floor()
    floor.market("Buy", "1")
    assert code_of(floor, trailing_stop=D(500), active_price=active) == 10001


def test_partial_stops_guard_what_their_order_filled_and_cancel_each_other() -> None:
    floor = Floor()
    floor.market("Buy", "1", take_profit=D(51_000), stop_loss=D(49_000), tpsl_mode="Partial")
    floor.market("Buy", "2", take_profit=D(52_000), stop_loss=D(48_000), tpsl_mode="Partial")
    assert len(floor.account.orders) == 4
    floor.move("51500")
    assert floor.size == 2
    assert sorted(order.trigger_price or 0 for order in floor.account.orders.values()) == [D(48_000), D(52_000)]
    floor.move("47000")
    assert floor.size == 0
    assert not floor.account.orders


def test_a_partial_take_profit_may_be_a_limit_order() -> None:
    floor = Floor()
    floor.market("Buy", "2")
    set_stop(
        floor,
        mode="Partial",
        take_profit=D(51_000),
        tp_size=D(1),
        tp_order_type="Limit",
        tp_limit_price=D(51_500),
    )
    floor.move("51200")
    assert floor.size == 2
    floor.move("51600")
    assert floor.size == 1
    assert floor.executions()[-1].price == D(51_500)
    assert floor.executions()[-1].is_maker


def test_a_stop_whose_price_has_passed_when_it_is_attached_fires_at_once() -> None:
    floor = Floor(Rules(slippage_bps=D(0)))
    floor.limit("Buy", "1", "49000", stop_loss=D(48_500))
    floor.move("48000", jump=True)
    assert floor.size == 0
    assert [fill.price for fill in floor.executions()] == [D(49_000), D(48_000)]
