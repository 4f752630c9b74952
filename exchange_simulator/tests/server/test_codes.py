"""Every retCode and HTTP status that Bybit lists: how to trigger it here, and code and shape of the response.

Codes that this exchange never returns by itself (server trouble, other categories, other account modes) are returned by
an injected fault; those are in `BY_FAULT`.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from exchange_simulator.engine.model import ZERO, Rules
from exchange_simulator.rest.limits import TRADE_FRAMES
from exchange_simulator.tests.server.served import FLAT, KEY, SECRET, Client, Row, served
from exchange_simulator.tests.server.test_trade_stream import ORDER, desk

REFERENCE = Path(__file__).parents[4] / "shared" / "reference" / "bybit-v5.md"
ON = {"category": "linear", "symbol": "BTCUSDT"}
STOP = "/v5/position/trading-stop"
LEVERAGE = "/v5/position/set-leverage"
MODE = "/v5/position/switch-mode"
WALLET = "/v5/account/wallet-balance"
Provoke = Callable[[Client], Awaitable[Row]]


@dataclass(frozen=True)
class Case:
    """One row of the table: the code, the requests, and the setup of the exchange."""

    code: int
    what: str
    provoke: Provoke
    setup: dict[str, Any] = field(default_factory=dict)


def order(side: str = "Buy", qty: str = "0.1", **more: object) -> Provoke:
    """One order, a market order unless it has a price."""
    return lambda client: client.order(side, qty, **more)


def after(first: Provoke, then: Provoke) -> Provoke:
    """Sends requests one by one; each must succeed."""

    async def both(client: Client) -> Row:
        answer = await first(client)
        assert answer["retCode"] == 0, answer
        return await then(client)

    return both


def post(path: str, **body: object) -> Provoke:
    return lambda client: client.post(path, **{**ON, **body})


ISOLATED = post("/v5/account/set-margin-mode", setMarginMode="ISOLATED_MARGIN")


async def pre_market(client: Client) -> Row:
    client.exchange.change_instrument("BTCUSDT", pre_market=True)
    return await client.order("Buy", "0.1")


def get(path: str, **query: object) -> Provoke:
    return lambda client: client.get(path, **query)


def as_key(name: str, secret: str, provoke: Provoke) -> Provoke:
    return lambda client: provoke(client.with_key(name, secret))


async def stale(client: Client) -> Row:
    text = "accountType=UNIFIED"
    headers = client.signed_headers(text, client.wall() - 6_000)
    return dict(await (await client.raw("GET", WALLET, text, headers)).json())


async def too_often(client: Client) -> Row:
    for _ in range(10):
        await client.post("/v5/order/create")
    return await client.post("/v5/order/create")


async def no_route(client: Client) -> Row:
    answer = await client.http.get("/v5/market/weather")
    assert answer.status == 404
    return dict(await answer.json())


async def many(client: Client, count: int, **more: object) -> Row:
    answers = [await client.order("Buy", "0.001", **more) for _ in range(count + 1)]
    assert {answer["retCode"] for answer in answers[:-1]} == {0}
    return answers[-1]


async def ended(client: Client) -> Row:
    await client.sim("instrument", symbol="BTCUSDT", delivery_ms=client.exchange.now_ms + 1)
    await client.advance()
    return await client.order("Buy", "0.1")


async def closing_only(client: Client) -> Row:
    await client.order("Buy", "0.1")
    await client.sim("instrument", symbol="BTCUSDT", reduce_only=True)
    assert (await client.order("Sell", "0.05", reduceOnly=True))["retCode"] == 0
    return await client.order("Buy", "0.1")


async def unpriced(client: Client) -> Row:
    client.exchange.engine.books["BTCUSDT"].last = ZERO
    return await client.order("Buy", "0.1")


async def many_partial_stops(client: Client) -> Row:
    await client.order("Buy", "0.1")
    for number in range(20):
        body = {"stopLoss": str(49_000 - number), "takeProfit": str(51_000 + number), "tpSize": "0.1", "slSize": "0.1"}
        assert (await client.post(STOP, **ON, positionIdx=0, tpslMode="Partial", **body))["retCode"] == 0
    return await client.post(STOP, **ON, positionIdx=0, tpslMode="Partial", stopLoss="48000", slSize="0.1")


async def partly_filled(client: Client) -> str:
    answer = await client.order("Buy", "1", price="50010")
    return str(answer["result"]["orderId"])


async def amend_below_filled(client: Client) -> Row:
    return await client.post("/v5/order/amend", **ON, orderId=await partly_filled(client), qty="0.001")


async def amend_stop_of_partly_filled(client: Client) -> Row:
    return await client.post("/v5/order/amend", **ON, orderId=await partly_filled(client), stopLoss="48000")


async def amend_whole_stop(client: Client) -> Row:
    await client.order("Buy", "1", stopLoss="48000")
    (stop,) = await client.rows("/v5/order/realtime", symbol="BTCUSDT")
    return await client.post("/v5/order/amend", **ON, orderId=stop["orderId"], qty="0.5")


async def dearer(client: Client) -> Row:
    made = await client.order("Buy", "1.02", price="47500")
    return await client.post("/v5/order/amend", **ON, orderId=made["result"]["orderId"], price="49990")


async def withdraw_too_much(client: Client) -> Row:
    money = [{"coin": "USDT", "amountStr": "99000"}]
    return await client.post("/v5/account/demo-apply-money", adjustType=1, utaDemoApplyMoney=money)


async def beyond_liquidation(client: Client) -> Row:
    await client.post(LEVERAGE, **ON, buyLeverage="100", sellLeverage="100")
    await client.order("Buy", "1")
    return await client.order("Buy", "0.001", price="49000")


async def traded(client: Client, *frames: Row) -> Row:
    """The last response on a trade connection."""
    async with desk(client) as trade:
        await trade.login()
        answer: Row = {}
        for frame in frames:
            answer = await trade.act(**frame) if "symbol" in frame else await trade.ask(**frame)
        return answer


async def flooded(client: Client) -> Row:
    for _ in range(TRADE_FRAMES):
        client.app.rest.limits.frame("127.0.0.1")
    return await traded(client, {"op": "order.create", **ORDER})


THIN = {"rules": Rules(depth_usdt=Rules().insurance_fund / 200)}
POOR = {"accounts": (f"{KEY}:{SECRET}:5100",)}
TABLE = (
    Case(10001, "a parameter is missing", order(qty="")),
    Case(10001, "positionIdx of hedge mode", order(positionIdx=1)),
    Case(10001, "quantity below the smallest", order(qty="0.0001")),
    Case(10001, "quantity above the largest", order(qty="9999")),
    Case(10001, "quantity between two steps", order(qty="0.0015")),
    Case(10001, "price between two ticks", order(price="49000.05")),
    Case(10001, "orderLinkId too long", order(orderLinkId="x" * 37)),
    Case(10001, "orderLinkId with other characters", order(orderLinkId="a b")),
    Case(10001, "take profit on the wrong side", order(takeProfit="49000")),
    Case(10001, "stops with reduceOnly", after(order(), order("Sell", reduceOnly=True, stopLoss="51000"))),
    Case(10001, "slippage of a limit order", order(price="49000", slippageToleranceType="TickSize", slippageTolerance="5")),
    Case(10001, "slippage beyond ten per cent", order(slippageToleranceType="Percent", slippageTolerance="10.1")),
    Case(10001, "slippage of half a tick", order(slippageToleranceType="TickSize", slippageTolerance="0.5")),
    Case(10001, "leverage of both sides differs", post(LEVERAGE, buyLeverage="5", sellLeverage="6")),
    Case(10001, "stops without a position", post(STOP, tpslMode="Full", positionIdx=0, stopLoss="48000")),
    Case(10001, "cursor of no page", get("/v5/market/instruments-info", category="linear", cursor="x")),
    Case(10001, "window above seven days", get("/v5/execution/list", category="linear", startTime=0, endTime=604_800_001)),
    Case(10001, "startTime alone", get("/v5/market/funding/history", **ON, startTime=1)),
    Case(10001, "category that is not traded here", post("/v5/order/create", category="spot", side="Buy", orderType="Market", qty="1")),
    Case(10002, "timestamp outside the window", stale),
    Case(10003, "key unknown", as_key("nobody", "s", get(WALLET, accountType="UNIFIED"))),
    Case(10003, "key of another environment", as_key("there", "s", order()), {"accounts": ("there:s::env=testnet",)}),
    Case(10004, "signature wrong", as_key(KEY, "another", get(WALLET, accountType="UNIFIED"))),
    Case(10005, "key may only read", as_key("ro", "s", order()), {"accounts": ("ro:s::read-only",)}),
    Case(10005, "key may not trade", as_key("np", "s", order()), {"accounts": ("np:s::no-trade",)}),
    Case(10006, "the eleventh order of a second", too_often, {"rate_limits": True}),
    Case(10010, "key bound to another address", as_key("far", "s", order()), {"accounts": ("far:s::ip=192.0.2.1",)}),
    Case(10017, "path unknown", no_route),
    Case(10403, "too many frames of an IP over the trading stream", flooded, {"rate_limits": True}),
    Case(10404, "op unknown on the trading stream", lambda client: traded(client, {"op": "order.dance", "reqId": "d"})),
    Case(20006, "reqId used twice", lambda client: traded(client, *({"op": "order.create", "req_id": "a", **ORDER},) * 2)),
    Case(33004, "key has ended", as_key("old", "s", order()), {"accounts": ("old:s::ends=2023-11-15",)}),
    Case(110001, "order unknown", post("/v5/order/cancel", orderId="x")),
    Case(110003, "price beyond the band", order(price="60000")),
    Case(110004, "money that backs a position", after(order(qty="1"), withdraw_too_much)),
    Case(110007, "margin short", order(qty="25")),
    Case(110009, "the eleventh conditional order", lambda c: many(c, 10, triggerPrice="51000", triggerDirection=1)),
    Case(110012, "less leverage than margin allows", after(order(qty="1"), post(LEVERAGE, buyLeverage="1", sellLeverage="1")),
         {"accounts": (f"{KEY}:{SECRET}:8000",)}),
    Case(110013, "leverage above the largest", post(LEVERAGE, buyLeverage="101", sellLeverage="101")),
    Case(110017, "nothing to reduce", order(reduceOnly=True)),
    Case(110017, "reducing on the side that is held", after(order(), order(reduceOnly=True))),
    Case(110020, "more active orders than allowed", lambda client: many(client, 3, price="49000"),
         {"rules": Rules(max_open_orders=3)}),
    Case(110023, "symbol takes reduce-only orders alone", closing_only),
    Case(110024, "position mode with a position", after(order(), post(MODE, mode=3))),
    Case(110025, "position mode as it is", post(MODE, mode=0)),
    Case(110027, "isolated margin by nothing", after(ISOLATED, after(order(), post("/v5/position/add-margin", margin="0")))),
    Case(110028, "position mode with an order", after(order(price="49000"), post(MODE, mode=3))),
    Case(110029, "hedge mode of USDC contracts", post(MODE, symbol="", coin="USDC", mode=3)),
    Case(110040, "limit price beyond the liquidation price", beyond_liquidation, {"accounts": (f"{KEY}:{SECRET}:800",)}),
    Case(110043, "leverage as it is", post(LEVERAGE, buyLeverage="10", sellLeverage="10")),
    Case(34040, "stop as it is", after(order(stopLoss="48000"), post(STOP, tpslMode="Full", positionIdx=0, stopLoss="48000"))),
    Case(110052, "price that margin does not allow", dearer, POOR),
    Case(110057, "limit stop for a whole position", order(takeProfit="51000", tpOrderType="Limit", tpLimitPrice="51000")),
    Case(110058, "partial stop above the position",
         after(order(), post(STOP, tpslMode="Partial", positionIdx=0, stopLoss="48000", slSize="0.2"))),
    Case(110059, "stops of a partly filled order", amend_stop_of_partly_filled, THIN),
    Case(110060, "quantity of a whole position's stop", amend_whole_stop),
    Case(110061, "more than twenty partial stops", many_partial_stops),
    Case(110064, "quantity not above what has filled", amend_below_filled, THIN),
    Case(110072, "orderLinkId used before", after(order(orderLinkId="a"), order(orderLinkId="a"))),
    Case(110074, "contract has ended", ended),
    Case(110090, "position beyond the tiers of its leverage", after(post(LEVERAGE, buyLeverage="100", sellLeverage="100"), order(qty="45")), {"accounts": (f"{KEY}:{SECRET}:9000000",)}),
    Case(110092, "trigger below the price, waiting for a rise", order(triggerPrice="49000", triggerDirection=1)),
    Case(110093, "trigger above the price, waiting for a fall", order(triggerPrice="51000", triggerDirection=2)),
    Case(110094, "value below the smallest", order(qty="0.001", price="3990"), {"candles": [(4_000,) * 4] * 3}),
    Case(110118, "no market price yet", unpriced),
    Case(181017, "history of orders that are open", get("/v5/order/history", category="linear", orderStatus="New")),
    Case(100028, "margin mode of one symbol", post("/v5/position/switch-isolated", tradeMode=1)),
    Case(110100, "pre-market order in demo", pre_market, {"accounts": (f"{KEY}:{SECRET}:1000:demo",)}),
    Case(3200403, "portfolio margin", post("/v5/account/set-margin-mode", setMarginMode="PORTFOLIO_MARGIN")),
)  # fmt: skip

BY_FAULT = {
    "the server or the account is in trouble": (
        -1, 429, 10000, 10007, 10008, 10009, 10014, 10016, 10018, 10019, 10024, 10027, 10029, 10429, 20003,
        110063, 110066, 110079, 110085,
    ),
    "other accounts and modes": (10028, 110036, 110038, 110123, 110124, 110125, 110132, -2015),
    "another code stands for it here": (
        110006, 110008, 110026, 110010, 110011, 110022, 110030, 110039, 110042, 110044, 110045, 110046, 110086, 110089,
        110120, 110121, 30208, 30209,
    ),
    "a rule that a made-up market does not have": (110021, 30228),
    "options and spot": (
        3100326, 170001, 170005, 170007, 170032, 170033, 170035, 170115, 170116, 170117, 170121, 170124, 170130,
        170131, 170132, 170133, 170134, 170136, 170137, 170139, 170140, 170141, 170142, 170143, 170146, 170147,
        170148, 170190, 170191, 170192, 170193, 170194, 170201, 170212, 170213, 170222, 170234, 170371, 170372,
        170381, 170382, 170810,
    ),
}  # fmt: skip
FAULTS = {code for codes in BY_FAULT.values() for code in codes}


@pytest.mark.parametrize("case", TABLE, ids=lambda case: f"{case.code}: {case.what}")
async def test_a_code_is_answered_to_what_provokes_it(case: Case) -> None:
    setup = {"candles": FLAT, **case.setup}
    accounts = (f"{KEY}:{SECRET}", *setup.pop("accounts", ()))
    if accounts[-1].startswith(f"{KEY}:"):
        accounts = accounts[-1:]
    async with served(accounts=accounts, **setup) as client:
        answer = await case.provoke(client)
    assert answer["retCode"] == case.code, answer
    assert answer["retMsg"]
    if "op" in answer:  # the trade stream
        assert set(answer) >= {"reqId", "retCode", "retMsg", "op", "connId"}
    else:
        assert set(answer) == {"retCode", "retMsg", "result", "retExtInfo", "time"}
        assert (set(answer["result"]) - {"reasons"}, answer["retExtInfo"]) == (set(), {})
        assert isinstance(answer["time"], int)


async def test_every_other_code_is_answered_when_it_is_asked_for_over_rest_and_over_the_trading_stream() -> None:
    async with served() as client, desk(client) as trade:
        await trade.login()
        for code in sorted(FAULTS):
            for number in range(2):
                await client.sim("faults", kind="answer", path="/v5/order", ret_code=code, ret_msg="as asked", times=1)
                if number:
                    frame = await trade.act("order.create", f"r{code}", **ORDER)
                    assert (frame["retCode"], frame["retMsg"], frame["data"]) == (code, "as asked", {})
                else:
                    answer = await client.order("Buy", "0.1")
                    assert set(answer) == {"retCode", "retMsg", "result", "retExtInfo", "time"}
                    assert (answer["retCode"], answer["retMsg"], answer["result"]) == (code, "as asked", {})
        assert await client.rows("/v5/execution/list") == []


async def test_each_http_status_is_answered_to_what_provokes_it() -> None:
    async with served(rate_limits=True) as client:
        assert (await client.http.put("/v5/order/create")).status == 400
        assert (await client.http.get(WALLET)).status == 401
        assert (await client.http.get("/v5/market/time", data="{}")).status == 403
        assert (await client.http.get("/v5/nowhere")).status == 404
        for status in (429, 500, 502, 503, 504):
            await client.sim("faults", kind="answer", path="/v5/market/time", status=status, times=1)
            assert (await client.http.get("/v5/market/time")).status == status


def listed() -> set[int]:
    """Every code of the reference's table, ranges expanded."""
    text = REFERENCE.read_text()
    section = text[text.index("### 2.6 retCode table") : text.index("nautilus_trader treats")]
    codes: set[int] = set()
    for line in section.splitlines():
        cell = line.split("|")[1] if line.startswith("|") else ""
        for first, last in re.findall(r"(?<![\dx])(-?\d+)(?:–(\d+))?(?![\dx+])", cell):
            codes.update(range(int(first), int(last or first) + 1))
    return codes


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference of Bybit's codes is not on this machine")
def test_the_tables_hold_every_code_of_the_reference() -> None:
    ours = {case.code for case in TABLE} | FAULTS
    found = listed()
    assert len(found) > 120
    assert found - ours == set()


def test_no_code_is_in_both_tables() -> None:
    assert {case.code for case in TABLE} & FAULTS == set()


async def test_an_accepted_order_may_be_rejected_later_on_the_stream() -> None:
    async with served() as client, client.stream("order") as stream:
        fault = {"kind": "reject", "key": KEY, "symbol": "BTCUSDT", "reason": "EC_InvalidSymbolStatus", "times": 1}
        assert (await client.sim("faults", **fault))["status"] == 200
        answer = await client.order("Buy", "0.1", orderLinkId="doomed")
        assert answer["retCode"] == 0
        (row,) = (await stream.next("order"))["data"]
        assert (row["orderId"], row["orderStatus"]) == (answer["result"]["orderId"], "Rejected")
        assert (row["rejectReason"], row["cumExecQty"], row["leavesQty"]) == ("EC_InvalidSymbolStatus", "0", "0")
        (kept,) = await client.rows("/v5/order/history", orderStatus="Rejected")
        assert kept["orderLinkId"] == "doomed"
        assert (await client.order("Buy", "0.1", orderLinkId="doomed"))["retCode"] == 110072
        assert (await client.order("Buy", "0.1"))["retCode"] == 0
        assert [row["orderStatus"] for push in await stream.pushes() for row in push["data"]] == ["Filled"]
