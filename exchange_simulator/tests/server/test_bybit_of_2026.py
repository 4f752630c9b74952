"""Features of Bybit as of 2026: fees in MNT, splits, announced maintenance, ADL alerts, schema drift, regions."""

from decimal import Decimal

import pytest

from exchange_simulator.tests.server.served import FLAT, KEY, SECRET, START_MS, Client, Row, Stream, served

MINUTE_MS = 60_000
ALERT = "adlAlert.USDT"


async def coins(client: Client) -> dict[str, Row]:
    (wallet,) = (await client.get("/v5/account/wallet-balance", accountType="UNIFIED"))["result"]["list"]
    return {row["coin"]: row for row in wallet["coin"]}


async def test_fees_are_taken_in_mnt_while_there_is_any() -> None:
    async with served(accounts=(f"{KEY}:{SECRET}:10000:mnt=4",)) as client:
        assert (await client.get("/v5/account/user-setting-config"))["result"]["fmsef"] is True
        for side in ("Buy", "Sell"):
            await client.order(side, "0.1")
        sold, bought = await client.rows("/v5/execution/list")
        assert (bought["feeCurrency"], bought["execFee"]) == ("MNT", "2.475"), "0.9 of 2.75 USDT, a MNT at one USDT"
        assert (sold["feeCurrency"], sold["execFee"]) == ("USDT", "2.75"), "what was left of the MNT did not do"
        held = await coins(client)
        assert (held["MNT"]["walletBalance"], held["USDT"]["walletBalance"]) == ("1.525", "9997.25")
        assert held["MNT"]["marginCollateral"] is False
        lines = await client.rows("/v5/account/transaction-log", accountType="UNIFIED", category="linear")
        assert [(line["currency"], line["fee"]) for line in lines] == [
            ("USDT", "2.75"),
            ("MNT", "2.475"),
            ("USDT", "0"),
        ]
        (closed,) = await client.rows("/v5/position/closed-pnl")
        assert (closed["openFee"], closed["closeFee"], closed["closedPnl"]) == ("0", "2.75", "-2.75")
        (first, _) = sorted(await client.rows("/v5/order/history"), key=lambda row: row["side"])
        assert first["cumFeeDetail"] == {"MNT": "2.475"}
        await client.sim("fees", key=KEY, mnt=False)
        assert (await client.get("/v5/account/user-setting-config"))["result"]["fmsef"] is False


@pytest.mark.parametrize(("ratio", "size", "price"), [("10", "1", "5000"), ("0.5", "0.05", "100000")])
async def test_a_split_changes_sizes_and_prices_and_leaves_the_value(ratio: str, size: str, price: str) -> None:
    async with served() as client, client.stream("position", "execution", "order") as stream:
        await client.order("Buy", "0.1", stopLoss="49000")
        await client.order("Buy", "0.1", price="49500")
        (before,) = await client.rows("/v5/position/list", symbol="BTCUSDT")
        await stream.pushes()
        assert (await client.sim("split", symbol="BTCUSDT", ratio=ratio))["status"] == 200
        (after,) = await client.rows("/v5/position/list", symbol="BTCUSDT")
        assert (after["size"], Decimal(after["avgPrice"]), Decimal(after["markPrice"])) == (
            size,
            Decimal(price),
            Decimal(price),
        )
        assert after["positionValue"] == before["positionValue"]
        assert Decimal(after["unrealisedPnl"]) == Decimal(before["unrealisedPnl"])
        rows = [row for push in await stream.pushes() for row in push["data"]]
        (action,) = [row for row in rows if row.get("execType") == "CorporateAction"]
        assert Decimal(action["execQty"]) == abs(Decimal(size) - Decimal("0.1"))
        assert {row["cancelType"] for row in rows if "orderStatus" in row} == {"CancelByAdmin"}
        (instrument,) = (await client.get("/v5/market/instruments-info", category="linear", symbol="BTCUSDT"))[
            "result"
        ]["list"]
        assert Decimal(instrument["priceFilter"]["tickSize"]) * Decimal(ratio) == Decimal("0.1")
        await client.advance(8)
        (ticker,) = (await client.get("/v5/market/tickers", category="linear", symbol="BTCUSDT"))["result"]["list"]
        assert abs(Decimal(ticker["lastPrice"]) / Decimal(price) - 1) < Decimal("0.01")
        (funded,) = [row for row in await client.rows("/v5/execution/list") if row["execType"] == "Trade"]
        assert funded["execQty"] == "0.1", "what was, stays as it was"
        closing = await client.post(
            "/v5/order/create",
            category="linear",
            symbol="BTCUSDT",
            side="Sell",
            orderType="Market",
            qty=size,
            reduceOnly=True,
        )
        assert closing["retCode"] == 0


async def test_a_split_that_prices_cannot_carry_is_refused() -> None:
    async with served() as client:
        assert (await client.sim("split", symbol="BTCUSDT", ratio="3"))["status"] == 400


async def test_a_window_is_told_carried_out_and_over() -> None:
    begin, end = START_MS + 10 * MINUTE_MS, START_MS + 20 * MINUTE_MS
    async with served(FLAT) as client, client.http.ws_connect("/v5/public/misc/status") as status:
        await status.send_json({"op": "subscribe", "args": ["system.status"]})
        assert (await status.receive_json(timeout=10))["success"]
        window = {"id": "w", "title": "Upgrade", "begin_ms": begin, "end_ms": end, "carry_out": True}
        assert (await client.sim("maintenance", **window))["status"] == 200
        told = await status.receive_json(timeout=10)
        assert (told["topic"], told["data"][0]["state"]) == ("system.status", "scheduled")
        async with client.http.ws_connect("/v5/private") as private:
            await client.sim("advance", to_ms=begin)
            assert (await private.receive(timeout=10)).type.name in ("CLOSE", "CLOSED", "ERROR")
        assert (await status.receive_json(timeout=10))["data"][0]["state"] == "ongoing"
        assert (await client.order("Buy", "0.1"))["retCode"] == 10016
        assert (await client.get("/v5/market/tickers", category="linear"))["retCode"] == 10016
        (row,) = (await client.get("/v5/system/status"))["result"]["list"]
        assert row["state"] == "ongoing"
        refused = await client.http.get("/v5/private", headers={"Upgrade": "websocket", "Connection": "Upgrade"})
        assert refused.status == 503
        await client.sim("advance", to_ms=end)
        assert (await status.receive_json(timeout=10))["data"][0]["state"] == "completed"
        assert (await client.order("Buy", "0.1"))["retCode"] == 0


async def test_adl_alerts_show_the_pool_and_the_drawdown_of_a_symbol() -> None:
    async with served() as client, client.stream(ALERT, public=True) as stream:
        (row,) = (await stream.next(ALERT))["data"]
        assert (row["s"], row["b"], row["pr"], row["i_pr"], row["adl_sr"]) == ("BTCUSDT", 1_000_000.0, 0.0, -0.3, -0.25)
        await client.sim("drawdown", symbol="BTCUSDT", pnl_ratio="-0.28")
        client.exchange.feed._sent.clear()
        client.exchange.feed.refresh()
        (row,) = (await stream.next(ALERT))["data"]
        assert row["pr"] == -0.28
        (row,) = (await client.get("/v5/market/adlAlert", symbol="BTCUSDT"))["result"]["list"]
        assert (row["pnlRatio"], row["balance"]) == ("-0.28", "1000000")


async def test_fields_and_values_that_bybit_does_not_document_are_put_into_rows() -> None:
    async with served() as client, client.stream("order") as stream:
        await client.sim("faults", kind="drift", path="/v5/position/list", field="newField", value="x", times=1)
        await client.sim("faults", kind="drift", topic="order", field="orderStatus", value="Parked", times=1)
        await client.order("Buy", "0.1")
        (row,) = (await stream.next("order"))["data"]
        assert row["orderStatus"] == "Parked"
        for expected in ("x", None):
            (row,) = await client.rows("/v5/position/list", symbol="BTCUSDT")
            assert row.get("newField") == expected


@pytest.mark.parametrize(
    ("host", "key", "code"),
    [
        ("api.bybit.eu", "eu-key", 0),
        ("api.bybit.com", "eu-key", 10003),
        ("api.bybit.eu:443", KEY, 10003),
        ("api.bytick.com", KEY, 0),
        ("api-testnet.manepa.jp", KEY, 10003),
    ],
)
async def test_a_key_works_only_at_the_hosts_of_its_region(host: str, key: str, code: int) -> None:
    async with served(accounts=(f"{KEY}:{SECRET}", f"eu-key:{SECRET}:1:region=eu")) as client:
        other = client.with_key(key, SECRET)
        headers = {**other.signed_headers(""), "Host": host}
        answer = await client.http.get("/v5/account/info", headers=headers)
        assert (await answer.json())["retCode"] == code
        async with client.http.ws_connect("/v5/private", headers={"Host": host}) as socket:
            assert (await Stream(socket).login(key, SECRET))["success"] == (code == 0)
