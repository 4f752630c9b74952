"""What one position needs, case by case."""

from decimal import Decimal

import pytest

from alpha.bybit.rows import parse_order, parse_position
from alpha.model.order import Order
from alpha.model.position import Position
from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.positions import OwnPosition
from risk_guard.stop_policy import Need, judge

D = Decimal


def position(**changes: str) -> Position:
    row = {
        "symbol": "BTCUSDT", "positionIdx": 0, "side": "Buy", "size": "0.5", "avgPrice": "100", "positionValue": "50",
        "leverage": "10", "markPrice": "100", "liqPrice": "70", "breakEvenPrice": "100", "takeProfit": "", "stopLoss": "90",
        "trailingStop": "0", "tpslMode": "Full", "unrealisedPnl": "0", "curRealisedPnl": "0", "cumRealisedPnl": "0",
        "positionIM": "5", "positionMM": "1", "positionStatus": "Normal", "adlRankIndicator": 1, "isReduceOnly": False,
        "openTime": 1, "createdTime": "1", "updatedTime": "1", "seq": 1, "riskId": 1, "riskLimitValue": "1",
        "autoAddMargin": 0, **changes,
    }  # fmt: skip
    return parse_position(row, "linear")


def stop_order(qty: str, kind: str = "StopLoss") -> Order:
    row = {
        "symbol": "BTCUSDT", "orderId": "o", "orderLinkId": "", "side": "Sell", "orderType": "Market", "qty": qty,
        "price": "0", "orderStatus": "Untriggered", "avgPrice": "", "leavesQty": qty, "cumExecQty": "0", "cumExecValue": "0",
        "timeInForce": "IOC", "reduceOnly": True, "closeOnTrigger": True, "createType": "CreateByStopLoss", "cancelType": "",
        "rejectReason": "EC_NoError", "stopOrderType": kind, "triggerPrice": "90", "triggerDirection": 2, "positionIdx": 0,
        "triggerBy": "LastPrice", "tpslMode": "Partial", "createdTime": "1", "updatedTime": "1",
    }  # fmt: skip
    return parse_order(row, "linear")


def own(stop: str, direction: Direction = Direction.LONG) -> OwnPosition:
    return OwnPosition("BTCUSDT", direction, D("0.5"), D(100), 1, 1, D(stop), stop_meaning=Reason.STOP_LOSS)


def verdict(
    row: Position, last: str = "100", mine: OwnPosition | None = None, *orders: Order, manual: bool = False
) -> tuple[Need, Decimal | None]:
    found = judge(row, orders, mine, None, D(last), D(10), protect_manual=manual)
    return found.need, found.price


def test_a_position_with_a_full_stop_before_its_liquidation_needs_nothing() -> None:
    assert verdict(position(), "100", own("90")) == (Need.NOTHING, None)
    assert verdict(position(), "100", own("90"), stop_order("0.5")) == (Need.NOTHING, None)


@pytest.mark.parametrize("kind", ["", "Stop", "TakeProfit", "PartialTakeProfit"])
def test_a_target_or_a_resting_entry_is_not_taken_for_a_missing_stop(kind: str) -> None:
    """A resting reduce-only target, a trigger entry and a take profit are orders of the symbol, and no stop."""
    bare = position(stopLoss="", takeProfit="120")
    assert verdict(bare, "100", own("92"), stop_order("0.5", kind)) == (Need.STOP, D(92))


def test_targets_beside_the_stop_change_nothing() -> None:
    assert verdict(position(), "100", own("90"), stop_order("0.5"), stop_order("0.2", ""), stop_order("0.3", "")) == (
        Need.NOTHING,
        None,
    )


def test_a_missing_stop_is_set_where_its_strategy_remembers_it() -> None:
    assert verdict(position(stopLoss=""), "100", own("92")) == (Need.STOP, D(92))
    assert verdict(position(stopLoss="", trailingStop="5"), "100", own("92")) == (Need.STOP, D(92))


def test_a_missing_stop_that_nobody_remembers_is_set_at_the_emergency_distance() -> None:
    assert verdict(position(stopLoss=""), "100", manual=True) == (Need.STOP, D(90))
    short = position(side="Sell", stopLoss="0", liqPrice="130")
    assert verdict(short, "100", manual=True) == (Need.STOP, D(110))


def test_what_is_remembered_of_the_other_direction_is_not_believed() -> None:
    short = position(side="Sell", stopLoss="", liqPrice="130")
    assert verdict(short, "100", own("92")) == (Need.STOP, D(110))
    assert verdict(position(stopLoss=""), "100", own("92", Direction.SHORT)) == (Need.STOP, D(90))


def test_a_stop_for_half_the_size_is_replaced_by_a_full_one() -> None:
    assert verdict(position(stopLoss=""), "100", own("92"), stop_order("0.25", "PartialStopLoss")) == (Need.STOP, D(92))
    assert verdict(position(), "100", own("92"), stop_order("0.25")) == (Need.STOP, D(92))
    assert verdict(position(tpslMode="Partial"), "100", own("92")) == (Need.STOP, D(92))


@pytest.mark.parametrize(
    ("last", "side", "stop"), [("90", "Buy", "90"), ("85", "Buy", "90"), ("110", "Sell", "110"), ("120", "Sell", "110")]
)
def test_a_position_beyond_its_stop_is_closed(last: str, side: str, stop: str) -> None:
    row = position(side=side, stopLoss=stop, liqPrice="70" if side == "Buy" else "130")
    assert verdict(row, last, own(stop, Direction(side)))[0] is Need.CLOSE


def test_a_missing_stop_that_the_market_has_passed_means_close() -> None:
    assert verdict(position(stopLoss=""), "91", own("92"))[0] is Need.CLOSE


def test_a_stop_beyond_the_liquidation_is_moved_before_it() -> None:
    need, price = verdict(position(stopLoss="65"), "100", own("65"))
    assert need is Need.STOP
    assert price is not None
    assert D(70) < price < D(100)


@pytest.mark.parametrize(("side", "liquidation", "wanted"), [("Buy", "70", "76"), ("Sell", "130", "124")])
def test_a_stop_exactly_at_the_liquidation_is_moved_a_fifth_of_the_way_to_the_market(
    side: str, liquidation: str, wanted: str
) -> None:
    row = position(side=side, stopLoss=liquidation, liqPrice=liquidation)
    direction = Direction.LONG if side == "Buy" else Direction.SHORT
    assert verdict(row, "100", own(liquidation, direction)) == (Need.STOP, D(wanted))
    one_tick = D("0.1") if side == "Buy" else D("-0.1")
    inside = position(side=side, stopLoss=str(D(liquidation) + one_tick), liqPrice=liquidation)
    assert verdict(inside, "100", own(liquidation, direction)) == (Need.NOTHING, None)


def test_a_position_opened_by_hand_is_reported_and_not_touched() -> None:
    assert verdict(position(stopLoss=""), "100") == (Need.REPORT, None)
    assert verdict(position(), "100") == (Need.NOTHING, None)


@pytest.mark.parametrize(
    ("changes", "orders", "why"),
    [
        ({"stopLoss": ""}, [], "the long of 0.5 has no stop; it belongs at 92."),
        (
            {"stopLoss": "", "trailingStop": "5"},
            [],
            "the long of 0.5 has a trailing stop but no plain one; it belongs at 92.",
        ),
        (
            {"stopLoss": ""},
            [stop_order("0.25", "PartialStopLoss"), stop_order("0.1")],
            "the long of 0.5 has stops for 0.35 only; it belongs at 92.",
        ),
        (
            {"tpslMode": "Partial"},
            [],
            "the long of 0.5 has a stop that is not for the whole position; it belongs at 92.",
        ),
        ({}, [stop_order("0.2"), stop_order("0.3")], "the long of 0.5 has a stop for 0.2 only; it belongs at 92."),
        ({"liqPrice": "91"}, [], "the long of 0.5 would be liquidated at 91 before its stop at 90; it belongs at 92."),
    ],
)
def test_what_is_wrong_is_told(changes: dict[str, str], orders: list[Order], why: str) -> None:
    found = judge(position(**changes), orders, own("92"), None, D(100), D(10), protect_manual=False)
    assert (found.need, found.why, found.price) == (Need.STOP, f"BTCUSDT: {why}", D(92))


def test_why_it_is_closed_or_reported_is_told() -> None:
    short = position(side="Sell", stopLoss="110", liqPrice="130")
    found = judge(short, [], own("110", Direction.SHORT), None, D(111), D(10), protect_manual=False)
    assert found.why == "BTCUSDT: the short of 0.5 is beyond its stop at 110 (last 111) and still open."
    found = judge(position(stopLoss=""), [], own("92"), None, D(91), D(10), protect_manual=False)
    assert found.why == "BTCUSDT: the long of 0.5 has no stop, and the market at 91 has passed where it belongs."
    found = judge(position(stopLoss=""), [], None, None, D(100), D(10), protect_manual=False)
    assert found.why == "BTCUSDT: the long of 0.5 was opened by hand and has no stop; it is not touched."


@pytest.mark.parametrize("kind", ["TakeProfit", "TrailingStop", "PartialTakeProfit"])
def test_a_smaller_order_that_is_no_stop_loss_is_no_fault(kind: str) -> None:
    assert verdict(position(), "100", own("90"), stop_order("0.2", kind)) == (Need.NOTHING, None)


@pytest.mark.parametrize("qty", ["0", "0.50", "0.7"])
def test_a_stop_order_of_no_size_or_of_all_of_it_is_for_the_whole_position(qty: str) -> None:
    assert verdict(position(), "100", own("90"), stop_order(qty)) == (Need.NOTHING, None)


@pytest.mark.parametrize(
    ("remembered", "last", "need"), [("0.5", "1", Need.STOP), ("0", "1", Need.CLOSE), ("-5", "1", Need.CLOSE)]
)
def test_a_stop_lies_above_zero(remembered: str, last: str, need: Need) -> None:
    assert verdict(position(stopLoss="", liqPrice=""), last, own(remembered))[0] is need


@pytest.mark.parametrize(("side", "stop"), [("Buy", "70.5"), ("Sell", "129.5")])
def test_a_stop_that_is_hardly_inside_the_liquidation_stays(side: str, stop: str) -> None:
    row = position(side=side, stopLoss="", liqPrice="70" if side == "Buy" else "130")
    assert verdict(row, "100", own(stop, Direction(side))) == (Need.STOP, D(stop))
