"""What needs no server: frames, states, reasons, openings, what fills explain."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpha.bybit.messages import answer_of, decode
from alpha.bybit.stream import BACKOFF, REFUSED_PAUSE_S
from alpha.bybit.stream_state import MOVES, StreamState, move
from alpha.errors import Rejected
from alpha.model.order_link import order_link_id
from alpha.model.reason import Reason
from websocket_listener.opening_positions import entry_of, walk
from websocket_listener.rows import check_execution, reason_of_execution
from websocket_listener.stop_reasons import StopReason
from websocket_listener.store import StoredFill
from websocket_listener.tests.rows import START_MS, execution, order, position
from websocket_listener.unexplained import Explainer

LINK = order_link_id("ss", Reason.SIGNAL, account="demo:1", symbol="BTCUSDT", bar_ms=0, intent="exit")


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ('{"success":true,"ret_msg":"","op":"auth","conn_id":"c"}', True),
        ('{"success":false,"ret_msg":"Params Error","op":"auth","conn_id":"c"}', False),
        ('{"retCode":0,"retMsg":"OK","op":"auth","connId":"c"}', True),
        ('{"retCode":10004,"retMsg":"bad sign","op":"auth","connId":"c"}', False),
        ('{"success":true,"conn_id":"c","data":{"failTopics":[],"successTopics":["tickers.X"]},"type":"COMMAND_RESP"}', True),
        ('{"success":true,"conn_id":"c","data":{"failTopics":["tickers.X"],"successTopics":[]},"type":"COMMAND_RESP"}', False),
    ],
)  # fmt: skip
def test_an_acknowledgement_is_understood_in_each_of_its_shapes(text: str, accepted: bool) -> None:
    answer = answer_of(decode(text))
    assert answer is not None
    assert answer.accepted is accepted


@pytest.mark.parametrize(
    "text",
    [
        '{"req_id":"p1","op":"pong","args":["1700000000999"],"conn_id":"c"}',
        '{"success":true,"ret_msg":"pong","conn_id":"c","op":"ping"}',
        '{"args":["1700000000999"],"op":"pong"}',
        '{"retCode":0,"op":"pong","data":["1700000000999"]}',
    ],
)
def test_a_pong_answers_nothing_in_any_of_its_shapes(text: str) -> None:
    assert answer_of(decode(text)) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[1]",
        '{"topic":5}',
        "\x00",
        '{"topic":"order","data"',
        pytest.param('{"topic":"order","data":' + "[" * 99_999, id="lists in lists without end"),
    ],
)
def test_a_frame_that_is_no_message_is_rejected(text: str) -> None:
    with pytest.raises(Rejected):
        decode(text)


def test_a_connection_moves_only_as_the_table_says() -> None:
    assert move(StreamState.SUBSCRIBING, StreamState.LIVE) is StreamState.LIVE
    for state in StreamState:
        for wanted in set(StreamState) - MOVES[state]:
            with pytest.raises(ValueError, match=state):
                move(state, wanted)


@given(failures=st.integers(1, 1_000), draw=st.floats(0, 1, exclude_max=True), refused=st.booleans())
def test_pauses_between_attempts_stay_within_their_bounds(failures: int, draw: float, refused: bool) -> None:
    pause = BACKOFF.pause_s(failures, draw, least_s=REFUSED_PAUSE_S if refused else 0.0)
    assert 0.125 <= pause <= 30.0
    assert not refused or pause >= 2.5


@pytest.mark.parametrize(
    ("changes", "meaning", "reason"),
    [
        ({"orderLinkId": LINK}, None, Reason.SIGNAL),
        ({"orderLinkId": "somebody-elses"}, None, Reason.MANUAL),
        ({}, None, Reason.MANUAL),
        ({"stopOrderType": "StopLoss"}, None, Reason.STOP_LOSS),
        ({"stopOrderType": "StopLoss"}, Reason.BREAK_EVEN, Reason.BREAK_EVEN),
        ({"stopOrderType": "TakeProfit"}, Reason.BREAK_EVEN, Reason.TAKE_PROFIT),
        ({"stopOrderType": "TrailingStop"}, None, Reason.TRAILING_STOP),
        ({"execType": "BustTrade", "createType": "CreateByLiq"}, None, Reason.LIQUIDATION),
        ({"execType": "AdlTrade"}, None, Reason.ADL),
        ({"execType": "Funding"}, None, Reason.FUNDING),
        ({"execType": "Settle"}, None, Reason.SETTLEMENT),
        ({"execType": "SomethingOfTomorrow"}, None, Reason.MANUAL),
    ],
)
def test_every_execution_has_a_reason(changes: dict[str, object], meaning: Reason | None, reason: Reason) -> None:
    assert reason_of_execution(execution(**changes), meaning) is reason


@pytest.mark.parametrize(
    "changes",
    [
        {"execQty": "500"},
        {"execPrice": "0"},
        {"execValue": "1"},
        {"side": ""},
        {"orderId": None},
        {"seq": -5},
        {"seq": 1 << 63},
        {"execQty": "-0.5", "execValue": "-18550"},
    ],
)
def test_an_execution_that_cannot_be_true_is_rejected(changes: dict[str, object]) -> None:
    with pytest.raises(Rejected):
        check_execution(execution(**changes))


def test_what_a_stop_means_counts_since_its_position_was_opened() -> None:
    meaning = StopReason(Reason.BREAK_EVEN, START_MS)
    assert meaning.at(START_MS - 1) is None
    assert meaning.at(START_MS) is Reason.BREAK_EVEN


def test_a_funding_row_moves_no_position() -> None:
    explain = Explainer()
    explain.position(position(), 0.0)
    explain.fill(execution(execType="Funding", seq=11), 0.0)
    assert explain.overdue(10.0) == []


def test_a_position_that_the_fills_explain_is_never_overdue_in_either_order() -> None:
    for fill_first in (True, False):
        explain = Explainer()
        explain.position(position(size="0.5", seq=10), 0.0)
        later = execution(execId="b", seq=11, execTime=str(START_MS + 1))
        held = position(size="1.0", seq=11, updatedTime=str(START_MS + 1))
        if fill_first:
            explain.fill(later, 1.0)
            explain.position(held, 1.5)
        else:
            explain.position(held, 1.0)
            explain.fill(later, 1.5)
        assert explain.overdue(60.0) == []


def test_a_position_that_no_fill_explains_is_overdue_after_two_seconds_and_explained_by_the_late_fill() -> None:
    explain = Explainer()
    explain.position(position(size="0.5", seq=10), 0.0)
    explain.position(position(size="1.0", seq=11, updatedTime=str(START_MS + 1)), 1.0)
    assert explain.overdue(2.9) == []
    assert len(explain.overdue(3.0)) == 1
    explain.fill(execution(execId="b", seq=11, execTime=str(START_MS + 1)), 3.5)
    assert explain.overdue(60.0) == []


def test_an_order_that_was_executed_for_more_than_its_fills_is_overdue() -> None:
    explain = Explainer()
    explain.order(order(cumExecQty="0.5", orderStatus="PartiallyFilled"), 0.0, known_before=False)
    assert len(explain.overdue(2.0)) == 1
    assert explain.overdue_orders(2.0) == ["order-1"]
    explain.fill(execution(), 2.5)
    assert explain.overdue(60.0) == []


sizes = st.decimals("-5", "5", places=2).filter(lambda value: value != 0)
prices = st.decimals("50", "150", places=2)


@given(opening=sizes, entry=prices, steps=st.lists(st.tuples(sizes, prices), max_size=8))
def test_the_opening_price_is_found_from_the_average_price_at_the_end(
    opening: Decimal, entry: Decimal, steps: list[tuple[Decimal, Decimal]]
) -> None:
    size, cost = opening, abs(opening) * entry
    crossed = False
    for qty, price in steps:
        if size == 0 or (size > 0) == (qty > 0):
            cost += abs(qty) * price
        elif abs(qty) < abs(size):
            cost *= 1 - abs(qty) / abs(size)
        else:
            cost, crossed = abs(size + qty) * price, True
        size += qty
    fills = [StoredFill(qty, price, START_MS + n, n, "o") for n, (qty, price) in enumerate(steps)]
    end = walk(opening, fills)
    assert end.size == size
    found = entry_of(end, cost / abs(size)) if size else None
    if crossed or not size:
        assert found is None
    else:
        assert found is not None
        assert abs(found - entry) < Decimal("1e-12")
