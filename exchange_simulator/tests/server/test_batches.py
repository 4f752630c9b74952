"""Order batches and contract delivery."""

from exchange_simulator.tests.server.served import FLAT, START_MS, Client, Row, served


def item(number: int, **more: object) -> Row:
    return {
        "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.1", "price": "49000",
        "orderLinkId": f"b-{number}", **more,
    }  # fmt: skip


async def batch(client: Client, name: str, *items: object) -> Row:
    return await client.post(f"/v5/order/{name}-batch", category="linear", request=list(items))


async def test_every_item_of_a_batch_stands_by_itself() -> None:
    async with served() as client:
        answer = await batch(client, "create", item(1), item(1), item(2, qty="0"), item(3), "nonsense")
        assert answer["retCode"] == 0
        assert [entry["code"] for entry in answer["retExtInfo"]["list"]] == [0, 110072, 10001, 0, 10001]
        assert [bool(row["orderId"]) for row in answer["result"]["list"]] == [True, False, False, True, False]
        changes = [{"symbol": "BTCUSDT", "orderLinkId": f"b-{n}", "price": "48000"} for n in (1, 2, 3)]
        amended = await batch(client, "amend", *changes)
        assert [entry["code"] for entry in amended["retExtInfo"]["list"]] == [0, 110001, 0]
        cancelled = await batch(client, "cancel", *({"symbol": "BTCUSDT", "orderLinkId": f"b-{n}"} for n in (3, 2, 1)))
        assert [entry["code"] for entry in cancelled["retExtInfo"]["list"]] == [0, 110001, 0]
        assert await client.rows("/v5/order/realtime", symbol="BTCUSDT") == []


async def test_a_batch_holds_one_to_twenty_orders() -> None:
    async with served() as client:
        assert (await batch(client, "create"))["retCode"] == 10001
        assert (await batch(client, "create", *(item(n) for n in range(21))))["retCode"] == 10001
        assert (await batch(client, "create", *(item(n) for n in range(20))))["retCode"] == 0


async def test_a_batch_beyond_the_limit_passes_as_far_as_the_limit_goes() -> None:
    async with served(rate_limits=True) as client:
        answer = await batch(client, "create", *(item(n) for n in range(12)))
        assert [entry["code"] for entry in answer["retExtInfo"]["list"]] == [0] * 10 + [10006] * 2
        assert (await batch(client, "create", item(20)))["retCode"] == 10006
        assert (await client.order("Buy", "0.1"))["retCode"] == 0


async def test_a_contract_that_ends_settles_its_positions_and_takes_no_more_orders() -> None:
    async with served(FLAT) as client, client.stream("order", "execution") as stream:
        await client.order("Buy", "1", stopLoss="48000")
        await client.order("Buy", "1", price="49000")
        await client.sim("instrument", symbol="BTCUSDT", delivery_ms=START_MS + 600_000)
        info = (await client.get("/v5/market/instruments-info", category="linear"))["result"]["list"]
        assert info[0]["deliveryTime"] == str(START_MS + 600_000)
        await stream.pushes()
        await client.sim("advance", to_ms=START_MS + 600_000)
        rows = [(push["topic"], row) for push in await stream.pushes() for row in push["data"]]
        assert {row["cancelType"] for topic, row in rows if topic == "order"} == {"CancelBySettle"}
        (settled,) = [row for topic, row in rows if topic == "execution"]
        assert (settled["execType"], settled["createType"], settled["execQty"]) == ("Delivery", "CreateBySettle", "1")
        assert await client.rows("/v5/position/list", settleCoin="USDT") == []
        assert (await client.order("Buy", "0.1"))["retCode"] == 110074
        assert (await client.get("/v5/market/instruments-info", category="linear"))["result"]["list"] == []
