"""Walks every covered call and topic and checks field names and JSON types against the tables of `contract`."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from exchange_simulator.rest.server import ENDPOINTS
from exchange_simulator.tests.clients import contract
from exchange_simulator.tests.clients.contract import Call, Topic
from exchange_simulator.tests.clients.process import KEY, SECRET, Simulator, running
from exchange_simulator.tests.clients.signed import Signed, auth_frame

SYMBOL, IDLE = "SOLUSDT", "ETHUSDT"
DOOMED = "key-to-be-liquidated"
LIMIT_HEADERS = ("X-Bapi-Limit", "X-Bapi-Limit-Status", "X-Bapi-Limit-Reset-Timestamp")


@pytest.fixture(scope="module")
def fast() -> Iterator[Simulator]:
    """An exchange ten minutes before a funding time; they pass within a second once the account holds a position."""
    accounts = (
        "--account",
        f"{KEY}:{SECRET}:100000:transfer",
        "--account",
        f"sub:s:1:sub={KEY}",
        "--account",
        f"{DOOMED}:{SECRET}:10000",
    )
    moment = ("--start", "2025-01-01T07:50", "--speed", "1")
    with running(*accounts, "--seed", "7", *moment, "--no-rate-limits", "--faults") as found:
        yield found


@pytest.fixture(scope="module")
def client(fast: Simulator) -> Iterator[Signed]:
    """An account with rows in every list: fills, a funding row, closed P&L, resting and conditional orders."""
    with Signed(fast) as made:
        fill_account(fast, made)
        yield made


def fill_account(fast: Simulator, made: Signed) -> None:
    order = {"category": "linear", "symbol": SYMBOL}
    with connect(f"{fast.ws_url}/v5/private") as stream:
        log_in(stream)
        subscribe(stream, "execution")
        for side, extra in (("Buy", {}), ("Sell", {"reduceOnly": True}), ("Buy", {})):
            market = {**order, "side": side, "orderType": "Market", "qty": "10", **extra}
            made.result("POST", "/v5/order/create", market)
        httpx.post(f"{fast.rest_url}/_sim/speed", json={"speed": 600}).raise_for_status()
        while all(row["execType"] != "Funding" for row in receive(stream)["data"]):
            pass
    rest(made, "contract-resting")
    stop = {
        "side": "Sell",
        "orderType": "Market",
        "qty": "1",
        "triggerPrice": price(made, "0.7"),
        "triggerDirection": 2,
    }
    made.result("POST", "/v5/order/create", {**order, **stop})


def price(client: Signed, share: str) -> str:
    """A price at a fraction of the last one, on the tick."""
    query = {"category": "linear", "symbol": SYMBOL}
    last = Decimal(client.result("GET", "/v5/market/tickers", query, signed=False)["list"][0]["lastPrice"])
    return str((last * Decimal(share)).quantize(Decimal("0.01")))


def rest(client: Signed, link: str) -> None:
    """Places a resting limit order."""
    limit = {"side": "Buy", "orderType": "Limit", "qty": "1", "price": price(client, "0.8"), "orderLinkId": link}
    client.result("POST", "/v5/order/create", {"category": "linear", "symbol": SYMBOL, **limit})


def receive(stream: ClientConnection) -> dict[str, Any]:
    """The next push of a stream; responses to requests are skipped."""
    while True:
        message: dict[str, Any] = json.loads(stream.recv(timeout=30))
        if "topic" in message:
            return message


def answer(stream: ClientConnection, op: str) -> dict[str, Any]:
    """The next response to a request."""
    while True:
        message: dict[str, Any] = json.loads(stream.recv(timeout=30))
        if message.get("op") == op:
            return message


def log_in(stream: ClientConnection) -> None:
    stream.send(auth_frame())
    assert answer(stream, "auth")["success"] is True


def subscribe(stream: ClientConnection, topic: str) -> None:
    stream.send(json.dumps({"op": "subscribe", "req_id": topic, "args": [topic]}))
    assert answer(stream, "subscribe")["success"] is True


def filled(value: contract.Value, client: Signed) -> contract.Value:
    """Fills the placeholders of a parameter table with the state of the account."""
    words = {"{symbol}": SYMBOL, "{idle}": IDLE, "{qty}": "1", "{more}": "2"}
    shares = {"{low}": "0.97", "{lower}": "0.7", "{higher}": "1.4"}
    match value:
        case str():
            return words.get(value) or (price(client, shares[value]) if value in shares else value)
        case dict():
            return {name: filled(each, client) for name, each in value.items()}
        case list():
            return [filled(each, client) for each in value]
        case _:
            return value


def faults_of(call: Call, client: Signed) -> list[str]:
    """All deviations of a response from the documentation."""
    query = {name: filled(value, client) for name, value in call.query.items()}
    reply = client.call(call.method, call.path, query, signed=call.signed)
    where = f"{call.method} {call.path}"
    if reply.status_code != 200:
        return [f"{where} answered HTTP {reply.status_code}"]
    envelope = reply.json()
    found = list(contract.ENVELOPE.faults(envelope, where))
    batch = contract.row(int="code", text="msg")
    for number, each in enumerate(envelope.get("retExtInfo", {}).get("list", [])):
        found += batch.faults(each, f"{where}.retExtInfo.list[{number}]")
    if envelope.get("retCode") != call.code:
        return [*found, f"{where} refused: {envelope.get('retCode')} {envelope.get('retMsg')}"]
    if call.code:
        return found
    result = envelope["result"]
    if call.result.kinds or not (call.page or call.may_be_empty):
        found += contract.Row(call.result.kinds, call.result.optional, call.result.parts).faults(result, where)
    rows = result.get(call.rows_key, []) if isinstance(result, dict) else []
    if (call.page or call.columns) and not rows and not call.may_be_empty:
        found.append(f"{where} has no rows to check")
    for number, row in enumerate(rows):
        place = f"{where}.{call.rows_key}[{number}]"
        if call.page:
            found += call.page.faults(row, place)
        if call.columns:
            if len(row) != len(call.columns):
                found.append(f"{place} has {len(row)} columns, {len(call.columns)} are documented")
            found += [
                f"{place}[{column}] must be {kind}, is {value!r}"
                for column, (kind, value) in enumerate(zip(call.columns, row, strict=False))
                if not contract.is_kind(kind, value)
            ]
    return found


def names(calls: tuple[Call, ...]) -> list[str]:
    return [f"{call.path.removeprefix('/v5/')}-{call.query.get('category', '')}".rstrip("-") for call in calls]


@pytest.mark.parametrize("call", contract.MARKET_CALLS, ids=names(contract.MARKET_CALLS))
def test_a_market_call_answers_with_the_documented_fields(client: Signed, call: Call) -> None:
    assert faults_of(call, client) == []


@pytest.mark.parametrize("call", contract.READ_CALLS, ids=names(contract.READ_CALLS))
def test_a_private_call_answers_with_the_documented_fields(client: Signed, call: Call) -> None:
    assert faults_of(call, client) == []


def test_written_calls_answer_with_the_documented_fields(client: Signed) -> None:
    rest(client, "contract-to-cancel")
    assert [fault for call in contract.WRITE_CALLS for fault in faults_of(call, client)] == []


@pytest.mark.parametrize("call", contract.EMPTY_CALLS, ids=names(contract.EMPTY_CALLS))
def test_other_categories_answer_validly_with_nothing(client: Signed, call: Call) -> None:
    answered = client.call(call.method, call.path, dict(call.query), signed="/market/" not in call.path).json()
    assert list(contract.ENVELOPE.faults(answered, call.path)) == []
    assert (answered["retCode"], answered["result"]["list"]) == (0, [])


def test_the_risk_limits_of_every_symbol_come_fifteen_symbols_a_page(client: Signed) -> None:
    known = client.result("GET", "/v5/market/instruments-info", {"category": "linear"}, signed=False)["list"]
    found: list[str] = []
    sizes: list[int] = []
    query = {"category": "linear"}
    while True:
        page = client.result("GET", "/v5/market/risk-limit", query, signed=False)
        found += [row["symbol"] for row in page["list"] if row["isLowestRisk"]]
        sizes.append(len({row["symbol"] for row in page["list"]}))
        if not page["nextPageCursor"]:
            break
        query = {"category": "linear", "cursor": page["nextPageCursor"]}
    assert found == [row["symbol"] for row in known]
    assert sizes == [15, 15]


def test_every_row_kind_of_a_fill_is_as_documented(client: Signed) -> None:
    query = {"category": "linear", "symbol": SYMBOL, "limit": 100}
    rows = client.result("GET", "/v5/execution/list", query)["list"]
    assert {"Trade", "Funding"} <= {row["execType"] for row in rows}
    funding = next(row for row in rows if row["execType"] == "Funding")
    assert (funding["orderType"], funding["orderPrice"], funding["closedSize"]) == ("UNKNOWN", "0", "0")


def test_limited_calls_carry_the_three_headers(simulator: Simulator) -> None:
    with Signed(simulator) as client:
        headers = client.call("GET", "/v5/order/realtime", {"category": "linear", "symbol": SYMBOL}).headers
    assert all(headers[name].isdigit() for name in LIMIT_HEADERS)
    assert headers["X-Bapi-Limit"] == "50"


@pytest.mark.parametrize("topic", [topic for topic in contract.TOPICS if topic.private], ids=lambda topic: topic.name)
def test_a_private_topic_pushes_the_documented_fields(fast: Simulator, client: Signed, topic: Topic) -> None:
    with connect(f"{fast.ws_url}/v5/private") as stream:
        log_in(stream)
        subscribe(stream, topic.name)
        order = {"category": "linear", "symbol": SYMBOL, "side": "Buy", "orderType": "Market", "qty": "1"}
        client.result("POST", "/v5/order/create", order)
        message = receive(stream)
    assert list(topic.envelope.faults(message, topic.name)) == []
    assert message["topic"] == topic.name
    assert message["data"]
    assert [fault for row in message["data"] for fault in topic.data.faults(row, topic.name)] == []


@pytest.mark.parametrize(
    "topic", [topic for topic in contract.TOPICS if not topic.private and not topic.quiet], ids=lambda topic: topic.name
)
def test_a_public_topic_pushes_the_documented_fields(fast: Simulator, topic: Topic) -> None:
    name = topic.name.replace("{symbol}", SYMBOL)
    kinds: set[str] = set()
    with connect(f"{fast.ws_url}/v5/public/linear") as stream:
        subscribe(stream, name)
        for _ in range(4):
            message = receive(stream)
            assert list(topic.envelope.faults(message, name)) == []
            row = topic.data
            if message["type"] == "delta":
                row = contract.Row(row.kinds, frozenset(row.kinds), row.parts)
            rows = message["data"] if isinstance(message["data"], list) else [message["data"]]
            assert [fault for each in rows for fault in row.faults(each, name)] == []
            if not kinds:
                assert message["type"] == "snapshot", "the first message is a snapshot"
            kinds.add(message["type"])
    assert kinds == ({"snapshot", "delta"} if topic.delta else {"snapshot"})


def test_a_liquidation_is_pushed_with_the_documented_fields_and_kinds(fast: Simulator) -> None:
    (topic,) = [topic for topic in contract.TOPICS if topic.quiet]
    order = {"category": "linear", "symbol": SYMBOL, "side": "Buy", "orderType": "Market", "qty": "3"}
    with Signed(fast, DOOMED) as doomed, connect(f"{fast.ws_url}/v5/public/linear") as stream:
        subscribe(stream, topic.name.replace("{symbol}", SYMBOL))
        doomed.result("POST", "/v5/order/create", order)
        httpx.post(f"{fast.rest_url}/_sim/liquidate", json={"key": DOOMED}).raise_for_status()
        message = receive(stream)
        (fill, *_) = doomed.result("GET", "/v5/execution/list", {"category": "linear", "symbol": SYMBOL})["list"]
        (closed, *_) = doomed.result("GET", "/v5/position/closed-pnl", {"category": "linear", "symbol": SYMBOL})["list"]
    assert list(topic.envelope.faults(message, topic.name)) == []
    assert [fault for row in message["data"] for fault in topic.data.faults(row, topic.name)] == []
    assert [(row["S"], row["v"]) for row in message["data"]] == [("Buy", "3")], "the side is the position's"
    assert (fill["execType"], fill["createType"]) == ("BustTrade", "CreateByTakeOver_PassThrough")
    assert closed["execType"] == "BustTrade"


def test_both_forms_of_ping_are_answered_as_documented(fast: Simulator) -> None:
    with connect(f"{fast.ws_url}/v5/public/linear") as public:
        public.send('{"op":"ping","req_id":"p"}')
        pong = answer(public, "ping")
        assert (pong["ret_msg"], pong["success"], pong["req_id"]) == ("pong", True, "p")
        public.ping().wait(10)
    with connect(f"{fast.ws_url}/v5/private") as private:
        private.send('{"op":"ping","req_id":"p"}')
        pong = answer(private, "pong")
        assert pong["req_id"] == "p"
        assert pong["args"][0].isdigit()
        private.ping().wait(10)


def test_a_bad_topic_refuses_the_whole_request(fast: Simulator) -> None:
    with connect(f"{fast.ws_url}/v5/public/linear") as stream:
        stream.send(json.dumps({"op": "subscribe", "req_id": "b", "args": [f"kline.1.{SYMBOL}", "nonsense.X"]}))
        refused = answer(stream, "subscribe")
        assert refused["success"] is False
        assert "nonsense.X" in refused["ret_msg"]
        assert refused["req_id"] == "b"


def test_the_coverage_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    calls = (*contract.MARKET_CALLS, *contract.READ_CALLS, *contract.WRITE_CALLS)
    paths = {call.path for call in calls}
    fields = sum(call.size for call in calls) + sum(topic.size for topic in contract.TOPICS)
    with capsys.disabled():
        print(f"\ncontract: {len(paths)} calls, {len(contract.TOPICS)} topics, {fields} documented fields checked")
    assert len(paths) == len(calls), "every call is in the tables once"
    assert {(call.method, call.path) for call in calls} == set(ENDPOINTS), "the tables hold every call there is"
    assert len({topic.name for topic in contract.TOPICS}) == len(contract.TOPICS)
