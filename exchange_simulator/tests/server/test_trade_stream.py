"""Orders over the trade WebSocket."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from exchange_simulator.tests.server.served import KEY, SECRET, Client, Row, served


class Desk:
    """A logged-in trade connection."""

    def __init__(self, client: Client, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.client = client
        self.socket = socket
        self.sent = 0

    async def ask(self, **message: object) -> Row:
        await self.socket.send_str(json.dumps(message))
        return dict(json.loads(await asyncio.wait_for(self.socket.receive_str(), 10)))

    async def login(self, key: str = KEY, secret: str = SECRET) -> Row:
        sign = hmac.new(secret.encode(), b"GET/realtime9000000000000", hashlib.sha256).hexdigest()
        return await self.ask(op="auth", args=[key, 9_000_000_000_000, sign])

    async def act(self, op: str, req_id: str = "", **order: object) -> Row:
        self.sent += 1
        header = {"X-BAPI-TIMESTAMP": str(self.client.wall()), "X-BAPI-RECV-WINDOW": "5000"}
        return await self.ask(
            op=op, reqId=req_id or f"r{self.sent}", header=header, args=[{"category": "linear", **order}]
        )


@asynccontextmanager
async def desk(client: Client) -> AsyncIterator[Desk]:
    async with client.http.ws_connect("/v5/trade") as socket:
        yield Desk(client, socket)


ORDER = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.1", "price": "49000", "orderLinkId": "x"}


async def test_orders_are_made_amended_and_cancelled_over_the_stream() -> None:
    async with served() as client, desk(client) as trade:
        assert (await trade.login())["retCode"] == 0
        made = await trade.act("order.create", "one", **ORDER)
        assert (made["retCode"], made["reqId"], made["op"]) == (0, "one", "order.create")
        assert made["data"]["orderLinkId"] == "x"
        assert made["header"]["X-Bapi-Limit"] == "10"
        named = {"symbol": "BTCUSDT", "orderId": made["data"]["orderId"]}
        assert (await trade.act("order.amend", **named, price="48000"))["retCode"] == 0
        assert (await client.rows("/v5/order/realtime", symbol="BTCUSDT"))[0]["price"] == "48000"
        assert (await trade.act("order.cancel", **named))["retCode"] == 0
        assert (await trade.act("order.cancel", **named))["retCode"] == 110001
        assert (await trade.act("order.create", **ORDER))["retCode"] == 110072


async def test_a_batch_over_the_stream_answers_item_by_item() -> None:
    async with served() as client, desk(client) as trade:
        await trade.login()
        answer = await trade.act("order.create-batch", request=[ORDER, ORDER])
        assert [item["code"] for item in answer["retExtInfo"]["list"]] == [0, 110072]


async def test_what_is_wrong_is_told_with_its_code() -> None:
    async with served(accounts=(f"{KEY}:{SECRET}", "ro:s::read-only")) as client:
        async with desk(client) as trade:
            assert (await trade.act("order.create", **ORDER))["retCode"] == 10004
            assert (await trade.login(secret="wrong"))["retCode"] == 10004
            assert (await trade.login("nobody"))["retCode"] == 10001
            assert (await trade.login())["retCode"] == 0
            assert (await trade.login())["retCode"] == 20001
            assert (await trade.ask(op="order.dance", reqId="d"))["retCode"] == 10404
            assert (await trade.ask(op="order.create", reqId="d", args=[ORDER]))["retCode"] == 10002
            assert (await trade.ask(op="ping"))["op"] == "pong"
            assert await client.rows("/v5/order/realtime", symbol="BTCUSDT") == []
        async with desk(client) as trade:
            await trade.login("ro", "s")
            assert (await trade.act("order.create", **ORDER))["retCode"] == 10005


async def test_a_request_id_is_used_once_on_a_connection() -> None:
    async with served() as client, desk(client) as trade, desk(client) as other:
        for each in (trade, other):
            await each.login()
        assert (await trade.act("order.create", "same", **ORDER))["retCode"] == 0
        assert (await trade.act("order.create", "same", **ORDER))["retCode"] == 20006
        assert (await other.act("order.create", "same", **ORDER))["retCode"] == 110072
        assert (await trade.act("order.create", "x" * 37, **ORDER))["retCode"] == 10001


async def test_the_answer_of_an_order_sent_over_the_stream_can_be_lost() -> None:
    async with served() as client, desk(client) as trade:
        await trade.login()
        lost = {"kind": "answer", "path": "/v5/order/create", "nothing": True, "after": True, "times": 1}
        await client.sim("faults", **lost)
        header = {"X-BAPI-TIMESTAMP": str(client.wall()), "X-BAPI-RECV-WINDOW": "5000"}
        frame = {"op": "order.create", "reqId": "lost", "header": header, "args": [{"category": "linear", **ORDER}]}
        await trade.socket.send_str(json.dumps(frame))
        assert (await trade.ask(op="ping"))["op"] == "pong", "nothing came before it"
        (order,) = await client.rows("/v5/order/realtime", symbol="BTCUSDT")
        assert order["orderLinkId"] == ORDER["orderLinkId"]


async def test_the_stream_shares_its_limits_with_rest() -> None:
    async with served(rate_limits=True) as client, desk(client) as trade:
        await trade.login()
        for number in range(10):
            await trade.act("order.create", **{**ORDER, "orderLinkId": f"x{number}"})
        assert (await client.order("Buy", "0.1"))["retCode"] == 10006
        assert (await trade.act("order.create", **ORDER))["retCode"] == 10006
