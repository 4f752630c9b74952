"""The listener as a process, against the simulated exchange, PostgreSQL and Redis."""

import asyncio
import json
import random
import re
from decimal import Decimal
from typing import Any

import httpx

from alpha.clock import wall_ms
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.live_state.read import read_candles, read_position, read_quote, read_status, read_wallet
from tests.support.alerts import raised_alerts
from tests.support.tcp_proxy import Proxy
from tests.support.world import BotKey, Process, Simulator, Trader, until
from websocket_listener.reconciler import OVERLAP_AFTER_GAP_MS
from websocket_listener.tests.conftest import ListenerMaker, Stores

BOT = "shortseller_001"
OTHER = "lxalgo_001"
DATABASE = {BOT: 0, OTHER: 1}


async def synced(links: RedisClients, bot: str = BOT, since_ms: int = 0) -> None:
    """Wait until the bot is synced by an audit that began after `since_ms`."""

    async def is_synced() -> bool:
        status = await read_status(links.database(DATABASE[bot]), bot)
        at = None if status is None or status.synced_at is None else status.synced_at.timestamp() * 1000
        return status is not None and status.state == "synced" and at is not None and at >= since_ms

    await until(is_synced, 60, f"{bot} to be synced")


def trader(exchange: Simulator, number: int) -> Trader:
    """Somebody who trades on account `number`."""
    return Trader(exchange.url, BotKey("", "", f"key-{number}", f"secret-{number}"))


async def buy(exchange: Simulator, number: int, *qtys: str, symbol: str = "ETHUSDT") -> None:
    """Market orders, one after another; a negative quantity sells."""
    client = trader(exchange, number)
    try:
        for qty in qtys:
            answer = await client.order(symbol, "Sell" if qty.startswith("-") else "Buy", qty.removeprefix("-"))
            assert answer["retCode"] == 0, answer
    finally:
        await client.close()


async def passes(exchange: Simulator, span_ms: int) -> None:
    """Wait until so much of the exchange's time has passed."""
    async with httpx.AsyncClient() as client:

        async def now_ms() -> int:
            return int((await client.get(f"{exchange.url}/v5/market/time")).json()["time"])

        end_ms = await now_ms() + span_ms

        async def over() -> bool:
            return await now_ms() >= end_ms

        await until(over, 60, "the exchange's time to pass")


async def fills_of(database: Any, bot: str, exchange: Simulator, number: int) -> list[Any]:
    """The stored fills of the account behind key `number`."""
    account = await exchange.account(f"key-{number}")
    rows: list[Any] = await database.fetch(
        "SELECT f.* FROM trading.fills f JOIN trading.accounts a USING (account_id) WHERE a.user_id = $1 AND f.bot_id = $2",
        str(account["uid"]),
        bot,
    )
    return rows


async def health(process: Process) -> tuple[int, dict[str, Any], str]:
    """Status of /healthz, its answer, and the text of /metrics."""
    found = re.search(r'"health_port": (\d+)', process.said())
    assert found is not None
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{found[1]}") as client:
        answer = await client.get("/healthz")
        return answer.status_code, answer.json(), (await client.get("/metrics")).text


async def test_a_first_start_in_the_middle_of_a_position_records_the_opening(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients, database: Any
) -> None:
    await buy(exchange, 1, "1.5", "0.5")
    before = (await exchange.account("key-1"))["positions"][0]
    # beyond what every read looks back, or the listener reads these fills, and nothing opens
    await passes(exchange, 2 * OVERLAP_AFTER_GAP_MS)
    listener({"SHORTSELLER": "key-1"}, listener_history_days="0")
    await synced(links)
    await buy(exchange, 1, "-0.7")
    await synced(links, since_ms=wall_ms())

    async def recorded() -> bool:
        return bool(await database.fetchval("SELECT count(*) FROM trading.opening_positions"))

    await until(recorded, 60, "the opening")
    opening = await database.fetchrow("SELECT * FROM trading.opening_positions")
    assert (opening["symbol"], opening["side"], opening["qty"]) == ("ETHUSDT", "Buy", Decimal("2.0"))
    assert opening["entry_price"] == Decimal(before["avgPrice"])
    state = await database.fetchrow(
        "SELECT * FROM trading.position_states WHERE account_id = $1", opening["account_id"]
    )
    assert (state["held"], state["is_long"]) == (Decimal("1.3"), True)


async def test_a_first_start_reads_the_history_and_announces_none_of_it(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients, database: Any
) -> None:
    await buy(exchange, 3, *(["0.1", "-0.1"] * 65))
    process = listener({"SHORTSELLER": "key-3"})
    await synced(links)
    fills = await fills_of(database, BOT, exchange, 3)
    assert len(fills) == 130
    assert await database.fetchval("SELECT count(*) FROM trading.opening_positions o JOIN trading.accounts USING (account_id) WHERE user_id = $1", str((await exchange.account("key-3"))["uid"])) == 0  # fmt: skip

    async def types() -> list[str]:
        return [fields["type"] for _, fields in await links.database(0).xrange(keys.events(BOT))]

    assert "fill" not in await types()
    assert "resync" in await types()

    # killed in the middle of its first start: the openings are not recorded yet, and what is left is still history
    process.kill()
    account, first = fills[0]["account_id"], min(fill["exec_time"] for fill in fills)
    await database.execute("DELETE FROM trading.watermarks WHERE account_id = $1 AND category = 'openings'", account)
    await database.execute("UPDATE trading.watermarks SET read_to = $2 WHERE account_id = $1", account, first)
    listener({"SHORTSELLER": "key-3"})
    await synced(links, since_ms=wall_ms())
    assert "fill" not in await types()


async def test_two_keys_of_one_account_the_second_bot_is_refused_and_the_first_works(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients
) -> None:
    process = listener({"SHORTSELLER": "key-2"})
    await synced(links)
    process.kill()
    held = keys.position(OTHER, "BTCUSDT")
    await links.database(1).hset(held, mapping={"side": "Buy", "size": "1", "seq": "5"})
    await links.database(1).sadd(keys.positions(OTHER), "BTCUSDT")
    process = listener({"SHORTSELLER": "key-2", "LXALGO": "key-twin"})
    await synced(links, since_ms=wall_ms())

    async def refused() -> bool:
        return "same simulated account" in (await links.database(1).hgetall(keys.status(OTHER))).get("why", "")

    await until(refused, 60, "the second bot to be refused")
    status = await read_status(links.database(1), OTHER)
    assert status is not None
    assert status.state == "down"
    assert await links.database(1).hget(held, "size") == "1", "what is not known is not called flat"
    code, answer, _ = await health(process)
    assert (code, answer["healthy"]) == (200, True)
    alerts = await raised_alerts(links.shared)
    assert [(alert["bot"], alert["lasting"]) for alert in alerts] == [(OTHER, "1")]
    assert "key_may_trade" in process.said(), "with a key that could trade it says so"


async def test_a_read_only_key_and_no_strategy_show_positions_with_marks(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients, database: Any
) -> None:
    await database.execute("DELETE FROM trading.equity_snapshots")
    await buy(exchange, 1, "0.2", symbol="SOLUSDT")
    process = listener({"SHORTSELLER": "key-watch"}, health_port="0")
    await synced(links, since_ms=wall_ms())

    async def marked() -> bool:
        quote = await read_quote(links.shared, "SOLUSDT")
        fields = await links.database(0).hgetall(keys.position(BOT, "SOLUSDT"))
        return quote is not None and quote.mark is not None and "marked_at" in fields

    await until(marked, 40, "marks of a held symbol that nobody asked for")
    wallet = await read_wallet(links.database(0), BOT)
    assert wallet is not None

    async def point() -> Any:
        return await database.fetchrow("SELECT * FROM trading.equity_snapshots ORDER BY taken_at DESC LIMIT 1")

    async def drawn() -> bool:
        return await point() is not None

    await until(drawn, 20, "a point of the equity curve")
    assert (await point())["wallet_balance"] == wallet.wallet_balance
    status = await read_status(links.database(0), BOT)
    assert status is not None
    assert status.account.startswith("simulated:"), "whose state this is can be compared with who trades"
    assert process.running
    assert "key_may_trade" not in process.said()


async def test_an_ageing_connection_is_replaced_without_a_gap(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients, database: Any
) -> None:
    process = listener({"SHORTSELLER": "key-5"}, listener_connection_age_s="0.7")
    await synced(links)

    async def replaced() -> bool:
        await buy(exchange, 5, "0.1", "-0.1")
        metric = re.search(r'listener_replaced_total{bot="shortseller_001"} (\d+)', (await health(process))[2])
        return metric is not None and int(metric[1]) >= 4

    await until(replaced, 60, "four replacements")
    states = [
        json.loads(fields["data"])["state"]
        for _, fields in await links.database(0).xrange(keys.events(BOT))
        if fields["type"] == "status"
    ]
    assert "down" not in states
    ledger = await exchange.ledger("key-5")

    async def stored() -> bool:
        return len(await fills_of(database, BOT, exchange, 5)) == len(ledger)

    await until(stored, 40, "every fill")
    _, _, metrics = await health(process)
    of_each_bot = (
        *("connected", "synced", "last_message_seconds", "commit_seconds", "redis_lag_seconds", "waiting_rows"),
        *("backfilled_rows_total", "duplicates_total", "unread_messages_total"),
    )
    assert [name for name in of_each_bot if f'listener_{name}{{bot="shortseller_001"}}' not in metrics] == []
    unseen = re.search(r'listener_unseen_rows_total{bot="shortseller_001"} (\d+)', metrics)
    assert unseen is not None
    assert unseen[1] == "0.0" or int(unseen[1]) == 0


async def test_every_fill_is_announced_once_over_a_kill(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients
) -> None:
    process = listener({"SHORTSELLER": "key-6"})
    await synced(links)
    await buy(exchange, 6, "0.1", "0.1")
    await synced(links, since_ms=wall_ms())
    process.kill()
    await buy(exchange, 6, "-0.1", "-0.1")
    listener({"SHORTSELLER": "key-6"})
    await synced(links, since_ms=wall_ms())
    told = [
        json.loads(fields["data"])["exec_id"]
        for _, fields in await links.database(0).xrange(keys.events(BOT))
        if fields["type"] == "fill"
    ]
    assert told == [row["execId"] for row in await exchange.ledger("key-6")]
    position = await read_position(links.database(0), BOT, "ETHUSDT")
    assert position is not None
    assert position.size == 0


async def test_a_moved_stop_that_fills_while_nobody_listens_means_what_it_meant(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients, database: Any
) -> None:
    client = trader(exchange, 4)

    async def last() -> Decimal:
        async with httpx.AsyncClient(base_url=exchange.url) as public:
            answer = await public.get("/v5/market/tickers", params={"category": "linear", "symbol": "ETHUSDT"})
            return Decimal(answer.json()["result"]["list"][0]["lastPrice"])

    async def stop_at(share: str) -> None:
        price = (await last() * Decimal(share)).quantize(Decimal("0.01"))
        level = {
            "category": "linear",
            "symbol": "ETHUSDT",
            "tpslMode": "Full",
            "positionIdx": 0,
            "stopLoss": str(price),
        }
        await client.post("/v5/position/trading-stop", level)

    process = listener({"SHORTSELLER": "key-4"})
    await synced(links)
    await buy(exchange, 4, "0.1")
    await stop_at("0.5")
    account = await database.fetchval(
        "SELECT account_id FROM trading.accounts WHERE user_id = $1", str((await exchange.account("key-4"))["uid"])
    )
    meaning = json.dumps({"ETHUSDT": {"opened_ms": 1, "stop_meaning": "break_even"}})
    await database.execute(
        "INSERT INTO trading.strategy_state (account_id, name, bot_id, state, lease_token, updated_at) "
        "VALUES ($1, 'positions', $2, $3, 1, now())",
        *(account, BOT, meaning),
    )
    await stop_at("0.6")

    async def stop_is_known() -> bool:
        return bool(
            await database.fetchval(
                "SELECT count(*) FROM trading.orders WHERE account_id = $1 AND reason = 'break_even'", account
            )
        )

    await until(stop_is_known, 30, "the moved stop in trading.orders")
    process.kill()
    await database.execute("UPDATE trading.strategy_state SET state = '{}' WHERE account_id = $1", account)

    async def stopped_out() -> bool:
        await stop_at("0.9999")
        return not any(Decimal(row["size"]) for row in (await exchange.account("key-4"))["positions"])

    await until(stopped_out, 60, "the stop to be hit")
    await client.close()
    listener({"SHORTSELLER": "key-4"})
    await synced(links, since_ms=wall_ms())
    rows = await fills_of(database, BOT, exchange, 4)
    assert sorted(row["reason"] for row in rows if row["side"] == "Sell") == ["break_even"]
    orders = await database.fetch("SELECT reason FROM trading.orders WHERE account_id = $1 AND side = 'Sell'", account)
    assert {row["reason"] for row in orders} == {"break_even"}


async def test_candles_are_gapless_and_each_new_one_is_told_once_in_order(
    listener: ListenerMaker, links: RedisClients
) -> None:
    await links.database(0).sadd(keys.symbols(BOT), "BTCUSDT")
    await links.database(0).sadd(keys.intervals(BOT), "1")
    process = listener({"SHORTSELLER": "key-7"})

    async def candle_events() -> list[dict[str, Any]]:
        rows = await links.database(0).xrange(keys.events(BOT))
        return [json.loads(fields["data"]) for _, fields in rows if fields["type"] == "candle"]

    async def several() -> bool:
        return len(await candle_events()) >= 4

    await until(several, 60, "four closed candles")
    process.kill()
    process = listener({"SHORTSELLER": "key-7"})
    seen = len(await candle_events())

    async def more() -> bool:
        return len(await candle_events()) >= seen + 4

    await until(more, 60, "candles after the restart")
    told = [event["start_ms"] for event in await candle_events()]
    assert told == list(range(told[0], told[-1] + 60_000, 60_000))
    stored = [candle.start_ms for candle in await read_candles(links.shared, "BTCUSDT", "1")]
    assert stored == list(range(stored[0], stored[-1] + 60_000, 60_000))
    assert stored[-1] >= told[-1]


async def test_fills_that_the_stream_lost_while_it_stood_are_recorded_and_told_and_those_of_a_known_gap_are_not(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients, database: Any
) -> None:
    wire = Proxy(exchange.port, random.Random(8), {"key-8": "secret-8"})
    await wire.start()

    async def told() -> list[dict[str, str]]:
        return [row for row in await raised_alerts(links.shared) if row["key"] == f"missing:{BOT}"]

    try:
        through = {name.lower(): value for name, value in wire.environment().items()}
        listener({"SHORTSELLER": "key-8"}, listener_audit_s="0.5", **through)
        await synced(links)
        wire.refusing = True
        wire.cut()
        await buy(exchange, 8, "0.1", symbol="BTCUSDT")
        wire.heal()
        for _ in range(4):
            await synced(links, since_ms=wall_ms())
        assert await told() == []

        wire.push.drop_every, wire.push.topics = 1, ("execution",)
        await buy(exchange, 8, "0.1")

        async def found() -> bool:
            return bool(await told())

        await until(found, 30, "an alert")
    finally:
        await wire.stop()
    alert, *_ = await told()
    assert (alert["level"], alert["bot"]) == ("warning", BOT)
    assert alert["text"].startswith(f"1 fill of {BOT} in ETHUSDT did not come through the stream")
    stored = {row["exec_id"] for row in await fills_of(database, BOT, exchange, 8)}
    traded = {row["execId"] for row in await exchange.ledger("key-8") if row["execType"] == "Trade"}
    assert len(traded) == 2
    assert traded <= stored, "a funding in the same minutes may be stored beside them"


async def test_without_any_key_it_ends_with_a_sentence(listener: ListenerMaker) -> None:
    process = listener({})
    assert await ended(process) == 2
    assert "SHORTSELLER_BYBIT_READ_API_KEY" in process.said()
    assert "Traceback" not in process.said()


async def test_an_unreachable_database_is_named(listener: ListenerMaker) -> None:
    process = listener({"SHORTSELLER": "key-8"}, postgres_port="1")
    assert await ended(process) == 1
    assert "PostgreSQL at 127.0.0.1:1 cannot be reached" in process.said()
    assert "Traceback" not in process.said()


async def test_sigterm_says_that_nobody_listens_and_a_long_absence_is_reported(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients, database: Any
) -> None:
    process = listener({"SHORTSELLER": "key-9"})
    await synced(links)
    await buy(exchange, 9, "0.3")
    assert process.stop(10) == 0
    status = await read_status(links.database(0), BOT)
    assert status is not None
    assert status.state == "down"

    # a listener that was away for longer than the exchange keeps executions says what nobody can read any more
    await database.execute("UPDATE trading.watermarks SET read_to = read_to - interval '800 days'")
    listener({"SHORTSELLER": "key-9"})
    await synced(links, since_ms=wall_ms())
    alerts = await raised_alerts(links.shared)
    assert [alert["level"] for alert in alerts if alert["key"] == f"history:{BOT}"] == ["critical"]
    assert len(await fills_of(database, BOT, exchange, 9)) == 1


async def test_health_names_the_store_that_is_away_and_even_then_it_ends_in_time(
    listener: ListenerMaker, links: RedisClients, stores: Stores
) -> None:
    process = listener({"SHORTSELLER": "key-1"}, listener_away_s="1")
    await synced(links)

    async def says(code: int, word: str) -> None:
        async def so() -> bool:
            found, answer, _ = await health(process)
            return found == code and word in json.dumps(answer)

        await until(so, 30, f"/healthz to answer {code} {word}")

    await says(200, "")
    # nobody trades: no row has to fail before it is noticed
    await asyncio.to_thread(stores.postgres.stop)
    try:
        await says(503, "PostgreSQL has taken nothing")
    finally:
        await asyncio.to_thread(stores.postgres.start)
    await says(200, "")
    await asyncio.to_thread(stores.redis.kill)
    try:
        await says(503, "Redis has not answered")
    finally:
        await asyncio.to_thread(stores.redis.start)
    await says(200, "")
    await asyncio.to_thread(stores.postgres.stop)
    try:
        assert await asyncio.to_thread(process.stop, 10) == 0
    finally:
        await asyncio.to_thread(stores.postgres.start)


async def ended(process: Process) -> int:
    """Wait for the end of a process; returns its exit code."""

    async def is_over() -> bool:
        return process.exit_code() is not None

    await until(is_over, 60, f"{process.name} to end")
    code = process.exit_code()
    assert code is not None
    return code
