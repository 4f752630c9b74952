"""History: windows, order, paging, storage and restart."""

import random
import shutil
from decimal import Decimal
from pathlib import Path

from exchange_simulator.engine import orders
from exchange_simulator.engine.orders import NewOrder
from exchange_simulator.storage import BUFFER_ROWS
from exchange_simulator.tests.server.served import BASE_MS, FLAT, KEY, START_MS, Client, served

DAY_MS = 86_400_000


async def trade(client: Client, times: int) -> None:
    for number in range(times):
        await client.order("Buy" if number % 2 == 0 else "Sell", "0.1", orderLinkId=f"t-{number}")


async def test_paging_returns_each_row_once_newest_first_while_new_rows_arrive() -> None:
    async with served(FLAT * 3) as client:
        await trade(client, 30)
        for path, size in (("/v5/execution/list", 7), ("/v5/order/history", 7), ("/v5/position/closed-pnl", 4)):
            first = (await client.get(path, category="linear", limit=size))["result"]
            await client.order("Buy", "0.1")
            await client.order("Sell", "0.1")
            await client.advance()
            seen, cursor = list(first["list"]), first["nextPageCursor"]
            while cursor:
                text = f"category=linear&limit={size}&cursor={cursor}&endTime={START_MS + DAY_MS}"
                page = (await (await client.raw("GET", path, text)).json())["result"]
                seen.extend(page["list"])
                cursor = page["nextPageCursor"]
            assert len(seen) >= (15 if "closed" in path else 30)
            names = [row.get("execId") or row["orderId"] for row in seen]
            assert len(names) == len(set(names))


async def test_a_page_cursor_may_be_sent_encoded_once_or_twice() -> None:
    async with served() as client:
        await trade(client, 6)
        first = (await client.get("/v5/execution/list", category="linear", limit=2))["result"]
        once = (
            await (
                await client.raw(
                    "GET", "/v5/execution/list", f"category=linear&limit=2&cursor={first['nextPageCursor']}"
                )
            ).json()
        )["result"]
        twice = (await client.get("/v5/execution/list", category="linear", limit=2, cursor=first["nextPageCursor"]))[
            "result"
        ]
        assert once["list"] == twice["list"]
        assert once["list"][0] not in first["list"]


async def test_any_page_size_gives_the_same_rows() -> None:
    async with served() as client:
        await trade(client, 23)
        pages = [await client.rows("/v5/execution/list", limit=size) for size in (1, 2, 5, 22, 23, 100)]
        assert len(pages[0]) == 23
        assert all(page == pages[0] for page in pages)


async def test_a_window_filters_by_its_own_time() -> None:
    async with served() as client:
        await client.order("Buy", "1", stopLoss="49950")
        entered = client.exchange.now_ms
        await client.advance(2)
        assert client.exchange.account(client.exchange.keys[client.key]).size("BTCUSDT") == 0
        rows = await client.get("/v5/position/closed-pnl", category="linear", startTime=entered, endTime=entered)
        (row,) = rows["result"]["list"]
        assert row["createdTime"] == str(entered)
        assert int(row["updatedTime"]) > entered
        assert row["side"] == "Sell"


async def test_without_a_window_the_last_seven_days_are_shown_and_with_one_bound_seven_days_from_there() -> None:
    candles = [(50_000, 50_100, 49_900, 50_000)] * (12 * 24 * 9)
    async with served(candles) as client:
        await client.order("Buy", "0.1")
        await client.sim("advance", to_ms=START_MS + 8 * DAY_MS)
        assert await client.rows("/v5/execution/list", execType="Trade") == []
        assert len(await client.rows("/v5/execution/list", execType="Trade", startTime=START_MS)) == 1
        assert len(await client.rows("/v5/execution/list", execType="Trade", endTime=START_MS + DAY_MS)) == 1


async def test_cancelled_orders_leave_the_history_after_a_day_and_unfilled_ones_after_a_week() -> None:
    candles = [(50_000, 50_100, 49_900, 50_000)] * (12 * 24 * 9)
    async with served(candles) as client:
        await client.order("Buy", "0.1", price="49000", orderLinkId="cancelled")
        await client.post("/v5/order/cancel", category="linear", symbol="BTCUSDT", orderLinkId="cancelled")
        await client.order("Buy", "0.1", orderLinkId="filled")

        async def links() -> set[str]:
            rows = await client.rows("/v5/order/history", startTime=START_MS, endTime=START_MS + DAY_MS)
            return {row["orderLinkId"] for row in rows}

        assert await links() == {"cancelled", "filled"}
        await client.sim("advance", to_ms=START_MS + 2 * DAY_MS)
        assert await links() == {"filled"}


async def test_funding_appears_as_an_execution_and_in_the_transaction_log_with_opposite_signs() -> None:
    async with served(FLAT * 20) as client:
        await client.order("Buy", "1")
        await client.sim("advance", to_ms=START_MS + 8 * 3_600_000)
        (row,) = await client.rows("/v5/execution/list", execType="Funding")
        assert (row["orderType"], row["orderQty"], row["closedSize"], row["side"]) == ("UNKNOWN", "0", "0", "Buy")
        assert row["execTime"] == str(START_MS + 8 * 3_600_000)
        assert row["execFee"] == "5"
        (line,) = await client.rows("/v5/account/transaction-log", type="SETTLEMENT")
        assert (line["funding"], line["change"], line["fee"]) == ("-5", "-5", "0")


async def test_the_transaction_log_adds_up_to_the_wallet() -> None:
    async with served(FLAT * 20) as client:
        await trade(client, 9)
        await client.sim("advance", to_ms=START_MS + 8 * 3_600_000)
        await trade(client, 0)
        lines = await client.rows("/v5/account/transaction-log", limit=50, category="")
        wallet = (await client.get("/v5/account/wallet-balance", accountType="UNIFIED"))["result"]["list"][0]
        assert sum(Decimal(line["change"]) for line in lines) == Decimal(wallet["totalWalletBalance"])
        assert lines[0]["cashBalance"] == wallet["totalWalletBalance"]


async def test_a_restart_goes_on_where_the_exchange_stood(tmp_path: Path) -> None:
    file = tmp_path / "exchange.sqlite"
    rng = random.Random(3)
    async with served(FLAT * 4, data=file) as client:
        await client.order("Buy", "1", stopLoss="48000", takeProfit="53000", orderLinkId="entry")
        await client.order("Buy", "0.5", price="49950", orderLinkId="resting")
        for _ in range(5):
            await client.order(rng.choice(("Buy", "Sell")), "0.1")
        await client.advance(5)
        before = await client.sim("ledger", "GET")
        state = await client.sim("state", "GET")
    async with served(FLAT * 4, data=file) as client:
        after = await client.sim("ledger", "GET")
        again = await client.sim("state", "GET")
        assert after == before
        assert (again["now_ms"], again["point_of_bar"], again["prices"]) == (
            state["now_ms"],
            state["point_of_bar"],
            state["prices"],
        )
        assert (await client.order("Buy", "0.1", orderLinkId="entry"))["retCode"] == 110072
        assert (await client.order("Buy", "0.1", orderLinkId="resting"))["retCode"] == 110072
        ids = {row["execId"] for row in await client.rows("/v5/execution/list")}
        await client.order("Sell", "5", reduceOnly=True)
        assert len(await client.rows("/v5/execution/list")) == len(ids) + 1
        await client.advance()
        assert client.exchange.now_ms > state["now_ms"]


async def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    file = tmp_path / "exchange.sqlite"
    async with served(FLAT, data=file) as client:
        await client.order("Buy", "1", stopLoss="48000")
        copy = tmp_path / "copy.sqlite"
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{file}{suffix}", f"{copy}{suffix}")
        alive = await client.sim("ledger", "GET")
    async with served(FLAT, data=copy) as client:
        assert await client.sim("ledger", "GET") == alive


async def test_the_ledger_is_paged_and_complete() -> None:
    async with served() as client:
        await trade(client, 12)
        seen: list[str] = []
        after: int | None = 0
        while after is not None:
            page = await client.sim(f"ledger?limit=5&after={after}", "GET")
            seen.extend(row["execId"] for row in page["executions"])
            after = page["next"]
        assert len(seen) == len(set(seen)) == 12


async def test_candles_are_served_newest_first_with_the_forming_one_on_top() -> None:
    async with served([(50_000, 50_100, 49_900, 50_050), (50_050, 50_300, 50_000, 50_200)]) as client:
        await client.advance(5)
        rows = (await client.get("/v5/market/kline", category="linear", symbol="BTCUSDT", interval="5", limit=3))[
            "result"
        ]["list"]
        assert [int(row[0]) for row in rows] == [START_MS + BASE_MS, START_MS, START_MS - BASE_MS]
        assert rows[0][1:5] == ["50050", "50050", "50000", "50000"]
        assert rows[1][1:5] == ["50000", "50100", "49900", "50050"]
        hour = (await client.get("/v5/market/kline", category="linear", symbol="BTCUSDT", interval="60", limit=1))[
            "result"
        ]["list"]
        assert hour[0][1:5] == ["50000", "50100", "49900", "50000"]
        finer = await client.get("/v5/market/kline", category="linear", symbol="BTCUSDT", interval="1")
        assert finer["retCode"] == 10001


async def test_nothing_of_the_future_shows_in_candles() -> None:
    async with served([(50_000, 50_100, 49_900, 50_050)] * 30) as client:
        await client.advance(9)
        now = client.exchange.now_ms
        for interval in ("5", "15", "60", "D"):
            rows = (await client.get("/v5/market/kline", category="linear", symbol="BTCUSDT", interval=interval))[
                "result"
            ]["list"]
            assert all(int(row[0]) <= now for row in rows)
            assert (
                rows[0][4]
                == (await client.get("/v5/market/tickers", category="linear", symbol="BTCUSDT"))["result"]["list"][0][
                    "lastPrice"
                ]
            )


async def test_realtime_shows_the_500_orders_that_closed_last_and_forgets_them_at_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "exchange.sqlite"
    async with served(data=file) as client:
        await client.order("Buy", "0.1", orderLinkId="first")
        for _ in range(500):
            await client.order("Buy", "0.001", price="49000", timeInForce="IOC")
        rows = await client.rows("/v5/order/realtime", symbol="BTCUSDT", openOnly=1, limit=50)
        assert len(rows) == 500
        assert {row["orderStatus"] for row in rows} == {"Cancelled"}
        assert len(await client.rows("/v5/order/realtime", orderLinkId="first")) == 1
    async with served(data=file) as client:
        assert await client.rows("/v5/order/realtime", symbol="BTCUSDT", openOnly=1) == []
        assert len(await client.rows("/v5/order/history", limit=50)) == 501


async def test_a_kill_loses_no_business_time_that_a_step_has_taken(tmp_path: Path) -> None:
    file = tmp_path / "exchange.sqlite"
    async with served(data=file) as client:
        await client.advance(6)
        copy = tmp_path / "copy.sqlite"
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{file}{suffix}", f"{copy}{suffix}")
        now = client.exchange.now_ms
    async with served(data=copy) as client:
        assert client.exchange.now_ms == now


async def test_every_list_is_in_its_documented_order() -> None:
    candles = [(50_000 + 10 * n, 50_100 + 10 * n, 49_900 + 10 * n, 50_010 + 10 * n) for n in range(200)]
    async with served(candles) as client:
        for number in range(6):
            await client.order("Buy" if number % 2 == 0 else "Sell", "0.1")
            await client.order("Buy", "0.1", price=str(40_000 + number))
            await client.advance(3)
        newest_first = {
            "/v5/order/realtime": "createdTime", "/v5/order/history": "createdTime", "/v5/execution/list": "execTime",
            "/v5/position/closed-pnl": "createdTime", "/v5/account/transaction-log": "transactionTime",
            "/v5/market/recent-trade": "time", "/v5/market/funding/history": "fundingRateTimestamp",
            "/v5/market/open-interest": "timestamp",
        }  # fmt: skip
        query = {"category": "linear", "symbol": "BTCUSDT", "intervalTime": "5min"}
        for path, name in newest_first.items():
            rows = (await client.get(path, **query))["result"]["list"]
            times = [int(row[name]) for row in rows]
            assert times == sorted(times, reverse=True), path
            assert path.endswith("funding/history") or len(set(times)) > 1, path
        for path in ("kline", "mark-price-kline", "index-price-kline", "premium-index-price-kline"):
            rows = (await client.get(f"/v5/market/{path}", **query, interval="5"))["result"]["list"]
            times = [int(row[0]) for row in rows]
            assert times == list(range(times[0], times[0] - len(times) * BASE_MS, -BASE_MS)), path
        book = (await client.get("/v5/market/orderbook", **query))["result"]
        bids, asks = ([Decimal(price) for price, _ in book[side]] for side in ("b", "a"))
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)


async def test_two_years_of_closed_profit_are_paged_window_by_window_and_add_up() -> None:
    days = 730
    async with served([(50_000, 50_100, 49_900, 50_000)] * 3) as client:
        engine, account = client.exchange.engine, client.exchange.account(client.exchange.keys[KEY])
        for day in range(days):
            engine.now_ms = START_MS + day * DAY_MS
            for number in range(4):
                side = "Buy" if number % 2 == 0 else "Sell"
                orders.create(engine, account, NewOrder("BTCUSDT", side, "Market", Decimal("0.01")))
                engine.now_ms += 1_000
            client.exchange.commit()
            assert sum(map(len, client.exchange.storage._pending.values())) < BUFFER_ROWS + 50, "history is on the disk"
        found: list[str] = []
        profit = Decimal(0)
        for start in range(START_MS, START_MS + days * DAY_MS, 7 * DAY_MS):
            window = {"startTime": start, "endTime": start + 7 * DAY_MS - 1, "limit": 10}
            rows = await client.rows("/v5/position/closed-pnl", **window)
            found += [row["orderId"] for row in rows]
            profit += sum(Decimal(row["closedPnl"]) for row in rows)
        assert len(found) == len(set(found)) == days * 2
        assert profit == account.wallet - account.totals.deposits
