"""Hedge mode, isolated margin, USDC and demo accounts, over REST and the streams."""

from decimal import Decimal

import numpy as np
import pytest

from exchange_simulator.app import App
from exchange_simulator.exchange import Exchange, Setup
from exchange_simulator.keys import BadAccount, parse_account
from exchange_simulator.market import catalogue
from exchange_simulator.market.replay import ReplayMarket
from exchange_simulator.tests.server.served import BASE_MS, FLAT, KEY, SECRET, START_MS, Client, Row, served

MODE = "/v5/position/switch-mode"
MARGIN_MODE = "/v5/account/set-margin-mode"
LINEAR = {"category": "linear", "symbol": "BTCUSDT"}


async def positions(client: Client) -> list[Row]:
    return await client.rows("/v5/position/list", symbol="BTCUSDT")


async def test_both_legs_are_traded_listed_and_pushed() -> None:
    async with served() as client:
        assert (await client.post(MODE, category="linear", coin="USDT", mode=3))["retCode"] == 0
        async with client.stream("position", "order") as stream:
            assert (await client.order("Buy", "0.2", positionIdx=1))["retCode"] == 0
            assert (await client.order("Sell", "0.1", positionIdx=2))["retCode"] == 0
            pushed = [row for push in await stream.pushes() for row in push["data"]]
        assert {row["positionIdx"] for row in pushed if "positionValue" in row} == {1, 2}
        assert {row["positionIdx"] for row in pushed if "orderStatus" in row} == {1, 2}
        rows = await positions(client)
        assert [(row["positionIdx"], row["side"], row["size"]) for row in rows] == [
            (1, "Buy", "0.2"),
            (2, "Sell", "0.1"),
        ]
        stop = {**LINEAR, "tpslMode": "Full", "positionIdx": 2, "stopLoss": "51000"}
        assert (await client.post("/v5/position/trading-stop", **stop))["retCode"] == 0
        assert [row["stopLoss"] for row in await positions(client)] == ["", "51000"]
        assert (await client.order("Sell", "0.2", positionIdx=1))["retCode"] == 0
        assert [(row["side"], row["size"]) for row in await positions(client)] == [("", "0"), ("Sell", "0.1")]
        held = await client.rows("/v5/position/list", settleCoin="USDT")
        assert [row["positionIdx"] for row in held] == [2]
        assert (await client.order("Buy", "0.1"))["retCode"] == 10001


async def test_a_switch_by_coin_is_answered_with_0_whatever_is_open() -> None:
    async with served() as client:
        await client.order("Buy", "0.1")
        for mode in (0, 3, 3, 0):
            assert (await client.post(MODE, category="linear", coin="USDT", mode=mode))["retCode"] == 0
        assert [row["positionIdx"] for row in await positions(client)] == [0]
        assert (await client.post(MODE, **LINEAR, mode=3))["retCode"] == 110024


async def test_margin_is_added_to_an_isolated_position() -> None:
    async with served() as client:
        for _ in range(2):
            answer = await client.post(MARGIN_MODE, setMarginMode="ISOLATED_MARGIN")
            assert (answer["retCode"], answer["result"]) == (0, {"reasons": []})
        await client.order("Buy", "0.1")
        (before,) = await positions(client)
        answer = await client.post("/v5/position/add-margin", **LINEAR, margin="100", positionIdx=0)
        assert answer["retCode"] == 0
        row = answer["result"]
        assert Decimal(row["positionIM"]) == Decimal(before["positionIM"]) + 100
        assert Decimal(row["bustPrice"]) < Decimal(row["liqPrice"]) < Decimal(before["liqPrice"])
        refused = await client.post(MARGIN_MODE, setMarginMode="PORTFOLIO_MARGIN")
        assert (refused["retCode"], refused["result"]["reasons"][0]["reasonCode"]) == (3200403, "3200403")


async def test_an_account_may_begin_in_any_of_these_modes_and_keeps_them_over_a_restart(tmp_path) -> None:  # type: ignore[no-untyped-def]
    accounts = (f"{KEY}:{SECRET}:1000:hedge,isolated,usdc=500",)
    for _ in range(2):
        async with served(accounts=accounts, data=tmp_path / "kept.sqlite") as client:
            if not await client.rows("/v5/position/list", settleCoin="USDT"):
                assert (await client.order("Buy", "0.01", positionIdx=1))["retCode"] == 0
            assert (await client.get("/v5/account/info"))["result"]["marginMode"] == "ISOLATED_MARGIN"
            assert [row["size"] for row in await positions(client)] == ["0.01", "0"]
            (wallet,) = (await client.get("/v5/account/wallet-balance", accountType="UNIFIED"))["result"]["list"]
            assert [(row["coin"], row["walletBalance"]) for row in wallet["coin"]] == [
                ("USDT", "999.725"),
                ("USDC", "500"),
            ]


@pytest.mark.parametrize("option", ["usdc=x", "usdc=-1", "demo=1", "hedge=yes"])
def test_an_option_that_cannot_be_read_is_refused(option: str) -> None:
    with pytest.raises(BadAccount):
        parse_account(f"k:s:1:{option}")


async def test_orders_of_a_demo_account_are_kept_for_seven_days() -> None:
    accounts = (f"{KEY}:{SECRET}:1000:demo", "live-key:s:1000")
    async with served(FLAT * 200, accounts=accounts) as client:
        live = client.with_key("live-key", "s")
        ids = [(await each.order("Buy", "0.01"))["result"]["orderId"] for each in (client, live)]
        assert (await client.get("/v5/account/fee-rate", **LINEAR))["retCode"] == 10001
        await client.sim("advance", to_ms=START_MS + 7 * 86_400_000 + BASE_MS)
        window = {"startTime": START_MS, "endTime": START_MS + 86_400_000}
        for each, order_id, kept in ((client, ids[0], 0), (live, ids[1], 1)):
            assert len(await each.rows("/v5/order/history", **window)) == kept
            assert len(await each.rows("/v5/order/history", orderId=order_id)) == kept
            assert len(await each.rows("/v5/order/realtime", orderId=order_id)) == kept
            assert len(await each.rows("/v5/execution/list", execType="Trade", **window)) == 1
        applied = {"adjustType": 0, "utaDemoApplyMoney": [{"coin": "USDC", "amountStr": "1000"}]}
        assert (await client.post("/v5/account/demo-apply-money", **applied))["retCode"] == 0


async def test_usdc_contracts_fill_their_own_wallet_line_and_settle_sessions() -> None:
    symbols = ("BTCUSDT", "BTCPERP")
    rows = np.array([(START_MS + n * BASE_MS, *(500_000,) * 4, 1_000) for n in range(-20, 300)], dtype=np.int64)
    known = {s: catalogue.instrument(s, price=Decimal(50_000), launch_ms=0, tick=Decimal("0.1")) for s in symbols}
    market = ReplayMarket(dict.fromkeys(symbols, rows), known, Decimal("0.0001"))
    setup = Setup(seed=1, start_ms=START_MS, step_clock=True, rate_limits=False, faults=True)
    exchange = Exchange(market, [parse_account(f"{KEY}:{SECRET}:1000:usdc=2000")], setup)
    app = App(exchange)
    await app.start("127.0.0.1", 0)
    import aiohttp

    from exchange_simulator.rest.server import wall_ms

    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{app.port}") as http:
            client = Client(app, http, wall_ms, KEY, SECRET)  # type: ignore[arg-type]
            order = {"category": "linear", "symbol": "BTCPERP", "side": "Buy", "orderType": "Market", "qty": "0.1"}
            assert (await client.post("/v5/order/create", **order))["retCode"] == 0
            await client.sim("advance", to_ms=START_MS + 8 * 3_600_000)
            for coin, kinds in (("USDT", ["TRANSFER_IN"]), ("USDC", ["SETTLEMENT", "TRADE", "TRANSFER_IN"])):
                lines = await client.rows(
                    "/v5/account/transaction-log", accountType="UNIFIED", currency=coin, category=""
                )
                assert [(line["type"], line["currency"]) for line in lines] == [(kind, coin) for kind in kinds]
            for coin, count in (("USDC", 1), ("USDT", 0)):
                assert len(await client.rows("/v5/position/list", settleCoin=coin)) == count
                assert len(await client.rows("/v5/execution/list", settleCoin=coin)) == count * 2
            (settled,) = await client.rows("/v5/asset/settlement-record")
            assert (settled["symbol"], settled["side"], settled["size"]) == ("BTCPERP", "Buy", "0.1")
            (row,) = await client.rows("/v5/position/closed-pnl")
            assert (row["execType"], row["side"]) == ("SessionSettlePnL", "")
    finally:
        await app.stop()


async def test_the_log_of_a_coin_has_the_lines_of_that_coin_alone() -> None:
    async with served(accounts=(f"{KEY}:{SECRET}:1000:usdc=5,mnt=7",)) as client:
        await client.order("Buy", "0.01")
        for coin, kinds in (
            ("USDT", ["TRADE", "TRANSFER_IN"]),
            ("USDC", ["TRANSFER_IN"]),
            ("MNT", ["TRADE", "TRANSFER_IN"]),
        ):
            lines = await client.rows("/v5/account/transaction-log", accountType="UNIFIED", currency=coin, category="")
            assert [(line["type"], line["currency"]) for line in lines] == [(kind, coin) for kind in kinds]
            trades = await client.rows("/v5/account/transaction-log", currency=coin, type="TRADE", category="linear")
            assert len(trades) == kinds.count("TRADE")


async def test_orders_of_market_makers_are_refused() -> None:
    async with served() as client:
        assert (await client.order("Buy", "0.1", price="49000", timeInForce="RPI"))["retCode"] == 10001
        assert (await client.order("Buy", "0.1", price="49000", timeInForce="PostOnly"))["retCode"] == 0


async def test_a_topic_may_be_subscribed_again_after_it_was_left() -> None:
    async with served() as client, client.stream("tickers.BTCUSDT", "orderbook.50.BTCUSDT", public=True) as stream:
        for topic in ("tickers.BTCUSDT", "orderbook.50.BTCUSDT", "kline.5.BTCUSDT"):
            if topic.startswith("kline"):
                assert (await stream.ask({"op": "subscribe", "args": [topic]}))["success"]
            assert (await stream.ask({"op": "unsubscribe", "args": [topic]}))["success"]
            await stream.pushes()
            assert (await stream.ask({"op": "subscribe", "args": [topic]}))["success"]
            assert (await stream.next(topic))["type"] == "snapshot"
            assert not (await stream.ask({"op": "subscribe", "args": [topic]}))["success"]
            await stream.pushes()


async def test_topics_that_would_never_push_are_refused() -> None:
    async with served() as client, client.stream() as stream:
        assert not (await stream.ask({"op": "subscribe", "args": ["greeks"]}))["success"]
    async with served() as client, client.stream(public=True) as stream:
        assert not (await stream.ask({"op": "subscribe", "args": ["liquidation.BTCUSDT"]}))["success"]
        assert (await stream.ask({"op": "subscribe", "args": ["allLiquidation.BTCUSDT"]}))["success"]
