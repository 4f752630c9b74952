"""A frame's rows at once against one row at a time: the same row, or left to the one that says what is wrong with it."""

from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpha.bybit.rows import parse_execution, parse_order, parse_position, read_executions, read_orders, read_positions
from alpha.errors import Rejected
from websocket_listener.tests.rows import START_MS, execution_row

Quick = Callable[[msgspec.Raw], Sequence[object] | None]
Careful = Callable[[object], object]

ORDER: dict[str, object] = {
    "category": "linear", "symbol": "BTCUSDT", "orderId": "order-1", "side": "Buy", "orderLinkId": "link",
    "parentOrderLinkId": "", "orderType": "Market", "cancelType": "UNKNOWN", "stopOrderType": "StopLoss",
    "orderStatus": "Filled", "updatedTime": str(START_MS), "takeProfit": "", "stopLoss": "36000.5", "tpslMode": "Full",
    "positionIdx": 0, "price": "35245.0", "qty": "0.5", "cumExecQty": "0.5", "leavesQty": "0", "cumExecValue": "18550.05",
    "avgPrice": "37100.1", "timeInForce": "IOC", "triggerPrice": "0.00", "triggerBy": "", "reduceOnly": False,
    "closeOnTrigger": False, "createdTime": str(START_MS), "rejectReason": "EC_NoError", "createType": "CreateByUser",
    "triggerDirection": 0, "cumExecFee": "10.2025", "cumFeeDetail": {"USDT": "10.2025", "MNT": "0.5"},
}  # fmt: skip
POSITION: dict[str, object] = {
    "category": "linear", "symbol": "BTCUSDT", "side": "Buy", "size": "0.5", "positionIdx": 0, "positionValue": "18550.05",
    "entryPrice": "37100.1", "leverage": "10", "breakEvenPrice": "", "positionIM": "5.5", "positionMM": "",
    "markPrice": "37101.5", "liqPrice": "", "takeProfit": "0", "stopLoss": "36000", "trailingStop": "0",
    "unrealisedPnl": "0.7", "curRealisedPnl": "-1.5", "cumRealisedPnl": "3", "createdTime": str(START_MS),
    "updatedTime": str(START_MS), "tpslMode": "Full", "positionStatus": "Normal", "adlRankIndicator": 2,
    "isReduceOnly": False, "seq": 1000, "openTime": 0,
}  # fmt: skip
EXECUTION = execution_row(markPrice="37101.5")
KINDS: tuple[tuple[dict[str, object], Quick, Careful], ...] = (
    (EXECUTION, read_executions, parse_execution),
    (ORDER, read_orders, parse_order),
    (POSITION, read_positions, parse_position),
)
GONE = object()
ODD: tuple[object, ...] = (
    *(GONE, None, "", "0", "0.00", "-1", "-0", "1e3", "1E-7", "NaN", "Infinity", "1e400", "1" + "0" * 60, "12a", " 5 ", "1_0",
     "UNKNOWN", "Sell", "linear", 5, 0, -1, 10**30, 5.5, True, False, [], {}, {"USDT": "x"}, [{"fee": "1"}],
     str(START_MS + 1), START_MS, "99999999999999999999"),
)  # fmt: skip


def pushed(rows: list[dict[str, object]]) -> msgspec.Raw:
    """Rows as they stand in a frame."""
    return msgspec.Raw(msgspec.json.encode(rows))


@pytest.mark.parametrize(("row", "quick", "careful"), KINDS, ids=("execution", "order", "position"))
def test_the_usual_row_is_read_the_quick_way(row: dict[str, object], quick: Quick, careful: Careful) -> None:
    more = {**row, "fieldOfTomorrow": {"a": [1]}}
    assert quick(pushed([row, more])) == [careful(row), careful(row)]


def same(changed: dict[str, object], quick: Quick, careful: Careful) -> None:
    """The quick way reads the row as the careful one does, or leaves it to it."""
    found = quick(pushed([changed]))
    try:
        expected = careful(changed)
    except Rejected:
        assert found is None
    else:
        assert found is None or found == [expected]


@pytest.mark.parametrize(("row", "quick", "careful"), KINDS, ids=("execution", "order", "position"))
def test_every_odd_value_in_every_field(row: dict[str, object], quick: Quick, careful: Careful) -> None:
    for name in row:
        for odd in ODD:
            changed = {key: value for key, value in {**row, name: odd}.items() if value is not GONE}
            same(changed, quick, careful)


@pytest.mark.parametrize(("row", "quick", "careful"), KINDS, ids=("execution", "order", "position"))
@given(data=st.data())
def test_whatever_the_quick_way_reads_the_careful_one_reads_the_same(
    row: dict[str, object], quick: Quick, careful: Careful, data: st.DataObject
) -> None:
    changes = data.draw(st.dictionaries(st.sampled_from(sorted(row)), st.sampled_from(ODD), max_size=3))
    changed = {name: value for name, value in {**row, **changes}.items() if value is not GONE}
    same(changed, quick, careful)
