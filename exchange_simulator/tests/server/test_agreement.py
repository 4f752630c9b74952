"""A client that only reads the streams ends up with the state REST reports: orders, positions, executions, wallet."""

import random
from typing import Any

import pytest

from exchange_simulator.engine.model import Rules
from exchange_simulator.tests.clients.contract import unlisted
from exchange_simulator.tests.server.served import Client, Row, served

OF_THE_MOMENT = {  # follow the mark price, which moves without pushes
    "markPrice", "unrealisedPnl", "positionIM", "positionIMByMp", "positionMM", "positionMMByMp", "positionBalance",
    "liqPrice", "adlRankIndicator", "extraFees",
}  # fmt: skip


def candles(rng: random.Random, count: int) -> list[tuple[int, int, int, int]]:
    made, last = [], 50_000
    for _ in range(count):
        first = last + rng.choice((0, 0, 0, rng.randint(-200, 200)))
        last = first + rng.randint(-300, 300)
        made.append((first, max(first, last) + rng.randint(0, 150), min(first, last) - rng.randint(0, 150), last))
    return made


async def act(client: Client, rng: random.Random, links: list[str]) -> None:
    """One request of an active trader; many are refused, as in practice."""
    price = int(client.exchange.engine.books["BTCUSDT"].last)
    side = rng.choice(("Buy", "Sell"))
    sign = 1 if side == "Buy" else -1
    kind = rng.randint(0, 7)
    more: dict[str, Any] = {}
    named = {"category": "linear", "symbol": "BTCUSDT"}
    if kind <= 3:
        links.append(f"link-{len(links)}")
        more["orderLinkId"] = links[-1]
        if rng.random() < 0.5:
            more["stopLoss"] = str(price - sign * rng.randint(600, 900))
            more["takeProfit"] = str(price + sign * rng.randint(600, 900))
            more["tpslMode"] = rng.choice(("Full", "Partial"))
        if kind == 1:
            more["price"] = str(price - sign * rng.randint(-100, 400))
            more["timeInForce"] = rng.choice(("GTC", "PostOnly", "IOC"))
        elif kind == 2:
            more["triggerPrice"] = str(price + rng.choice((-1, 1)) * rng.randint(50, 300))
            more["triggerDirection"] = 1 if int(more["triggerPrice"]) > price else 2
        elif kind == 3:
            more = {"orderLinkId": links[-1], "reduceOnly": True}
        await client.order(side, str(rng.randint(1, 20) / 10), **more)
    elif kind == 4 and links:
        change = {"price": str(price - rng.randint(-300, 300)), "qty": str(rng.randint(1, 20) / 10)}
        await client.post("/v5/order/amend", **named, orderLinkId=rng.choice(links), **change)
    elif kind == 5 and links:
        await client.post("/v5/order/cancel", **named, orderLinkId=rng.choice(links))
    elif kind == 6:
        stop = rng.choice(({"trailingStop": "150"}, {"stopLoss": str(price - 500)}, {"stopLoss": str(price + 500)}))
        await client.post("/v5/position/trading-stop", **named, tpslMode="Full", positionIdx=0, **stop)
    else:
        await client.advance(rng.randint(1, 3))


def same(pushed: Row, rest: Row) -> bool:
    """Whether two rows agree in every shared field that does not follow the mark price."""
    shared = (set(pushed) & set(rest)) - OF_THE_MOMENT
    return all(pushed[name] == rest[name] for name in shared)


@pytest.mark.parametrize("seed", range(4))
async def test_the_streams_alone_tell_the_same_as_rest(seed: int) -> None:
    rng = random.Random(seed)
    rules = (Rules(), Rules(spread_ticks=2, depth_usdt=Rules().insurance_fund / 40))[seed % 2]
    async with (
        served(candles(rng, 150), rules=rules) as client,
        client.stream("order", "execution", "position", "wallet") as stream,
    ):
        links: list[str] = []
        for _ in range(150):
            await act(client, rng, links)
        told: dict[str, dict[str, Row]] = {"order": {}, "execution": {}, "position": {}, "wallet": {}}
        names = {"order": "orderId", "execution": "execId", "position": "symbol", "wallet": "accountType"}
        for push in await stream.pushes():
            for row in push["data"]:
                assert push["topic"] != "execution" or row["execId"] not in told["execution"]
                told[push["topic"]][row[names[push["topic"]]]] = row

        assert [fault for rows in told.values() for row in rows.values() for fault in unlisted(row)] == []

        executions = await client.rows("/v5/execution/list", limit=100)
        assert len(executions) > 30
        assert {row["execId"] for row in executions} == set(told["execution"])
        assert all(same(told["execution"][row["execId"]], row) for row in executions)

        open_orders = await client.rows("/v5/order/realtime", symbol="BTCUSDT", limit=50)
        closed = await client.rows("/v5/order/history", limit=50)
        assert {row["orderId"] for row in (*open_orders, *closed)} == set(told["order"])
        assert all(same(told["order"][row["orderId"]], row) for row in (*open_orders, *closed))

        (position,) = await client.rows("/v5/position/list", symbol="BTCUSDT")
        assert same(told["position"]["BTCUSDT"], position)
        assert told["position"]["BTCUSDT"]["entryPrice"] == position["avgPrice"]
        wallet = (await client.get("/v5/account/wallet-balance", accountType="UNIFIED"))["result"]["list"][0]
        for name in ("walletBalance", "cumRealisedPnl"):
            assert told["wallet"]["UNIFIED"]["coin"][0][name] == wallet["coin"][0][name]

        filled = {row["orderId"]: row["cumExecQty"] for row in (*open_orders, *closed) if row["cumExecQty"] != "0"}
        sums: dict[str, float] = {}
        for row in executions:
            if row["execType"] == "Trade":
                sums[row["orderId"]] = sums.get(row["orderId"], 0) + float(row["execQty"])
        assert {key: pytest.approx(value) for key, value in sums.items()} == {k: float(v) for k, v in filled.items()}


async def test_the_same_seed_and_the_same_requests_give_the_same_ledger_to_the_last_id() -> None:
    async def ledger() -> Row:
        rng = random.Random(11)
        async with served(candles(rng, 100), rules=Rules(depth_usdt=Rules().insurance_fund / 40)) as client:
            links: list[str] = []
            for _ in range(80):
                await act(client, rng, links)
            return await client.sim("ledger", "GET")

    first = await ledger()
    assert len(first["executions"]) > 20
    assert await ledger() == first
