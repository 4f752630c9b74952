"""The writers and the feed, over a real PostgreSQL and a real Redis."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from msgspec import structs

from alpha.alert_batcher import AlertBatcher, Make
from alpha.alerts import Alert, Alerts, Level
from alpha.bybit.messages import decode
from alpha.clock import BusinessClock
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.live_state.read import read_orders, read_position, read_positions, read_wallet
from alpha.model.account import Account, Environment
from alpha.model.order import Order
from alpha.model.timestamp import at, ms_of
from alpha.postgres.fills import Fill
from alpha.postgres.rejected import RejectedMessage, RejectedMessages
from tests.support.alerts import raised_alerts
from tests.support.world import until
from websocket_listener.account_state import AccountState, Mark
from websocket_listener.dispatcher import MODE_WAIT_S, Dispatcher
from websocket_listener.postgres_writer import PostgresWriter
from websocket_listener.redis_writer import RedisWriter
from websocket_listener.rows import OrderRow, fill_of, order_row, reason_of_execution, reason_of_order
from websocket_listener.status import BotStatus
from websocket_listener.store import upsert_orders
from websocket_listener.tests.rows import START_MS, Held, execution, execution_row, order, position, wallet

BOT = "momentum_001"
NOW = at(START_MS)


@dataclass
class Wired:
    """One bot's parts, wired as the listener does, without an exchange."""

    account: Account
    feed: Dispatcher
    book: AccountState
    live: RedisWriter
    database: PostgresWriter
    status: BotStatus
    rejected: RejectedMessages
    grouped: AlertBatcher
    lost: list[str]
    refused: list[str]
    dropped: list[int]


@pytest.fixture
async def wired(pool: Any, links: RedisClients) -> AsyncIterator[Wired]:
    """The parts, their writers running, on an account of its own."""
    user = str(await pool.fetchval("SELECT 900000 + count(*) FROM trading.accounts"))
    number = await pool.fetchval("SELECT trading.register_account('simulated', $1, $2)", user, BOT)
    account = Account(number, BOT, Environment.SIMULATED, user)
    lost: list[str] = []
    refused: list[str] = []
    dropped: list[int] = []

    async def refuse(row: Fill | OrderRow, fault: str) -> None:
        refused.append(fault)

    database = PostgresWriter(pool, 200, dropped=dropped.append, refused=refuse)
    books: list[AccountState] = []
    live = RedisWriter(
        links.writer(2),
        BOT,
        Held(),
        rebuild=lambda: [*books[0].rebuild(), *status.anew(), ("EVENT", "resync", "0", "{}")],
        restored=lambda: None,
    )
    status = BotStatus(live.put)
    book = AccountState(BOT, live.put, {"BTCUSDT": Mark(Decimal("37200"), START_MS)})
    books.append(book)
    grouped = AlertBatcher(Alerts(links.shared, "test"))
    rejected = RejectedMessages(pool, grouped)
    feed = Dispatcher(account, book, live, database, status, rejected, BusinessClock(), lost.append)
    feed.legs.hedged |= dict.fromkeys(("BTCUSDT", "ETHUSDT", "SOLUSDT"), False)
    tasks = [asyncio.create_task(job) for job in (live.run(), database.run(), rejected.run(), grouped.run())]
    yield Wired(account, feed, book, live, database, status, rejected, grouped, lost, refused, dropped)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=2)


def pushed(topic: str, *rows: dict[str, object]) -> str:
    """A frame of the private stream."""
    return msgspec.json.encode({"topic": topic, "creationTime": START_MS, "data": rows}).decode()


def take(wired: Wired, frame: str) -> None:
    """Give a frame to the feed."""
    wired.feed.data(decode(frame), frame)


async def events(links: RedisClients, kind: str) -> list[dict[str, Any]]:
    """The data of all events of one type."""
    rows = await links.database(2).xrange(keys.events(BOT))
    return [msgspec.json.decode(fields["data"]) for _, fields in rows if fields["type"] == kind]


async def settled(wired: Wired) -> None:
    """Wait until everything is written."""

    async def done() -> bool:
        await wired.database.drained()
        await wired.live.flushed()
        return not wired.live.away

    await until(done, 10, "the writers")


async def test_a_fill_pushed_twice_is_stored_and_told_once(wired: Wired, pool: Any, links: RedisClients) -> None:
    for _ in range(3):
        take(wired, pushed("execution", execution_row()))
    await settled(wired)
    assert await pool.fetchval("SELECT count(*) FROM trading.fills WHERE account_id = $1", wired.account.id) == 1
    assert [event["exec_id"] for event in await events(links, "fill")] == ["exec-1"]
    moved = await pool.fetchval("SELECT count(*) FROM trading.watermarks WHERE account_id = $1", wired.account.id)
    assert moved == 0, "the stream never moves the watermark"


async def test_what_only_the_stream_tells_is_added_to_a_fill_that_was_read_first(wired: Wired, pool: Any) -> None:
    read = execution(execPnl="")
    wired.database.put(fill_of(read, wired.account, reason_of_execution(read, None), NOW))
    wired.feed.learn(read, pushed=False)
    take(wired, pushed("execution", execution_row(execPnl="7.5")))
    await settled(wired)
    rows = await pool.fetch("SELECT exec_pnl FROM trading.fills WHERE account_id = $1", wired.account.id)
    assert [row["exec_pnl"] for row in rows] == [Decimal("7.5")]


async def test_every_kind_of_execution_is_kept_as_what_it_is(wired: Wired, pool: Any) -> None:
    kinds = ("Trade", "Funding", "AdlTrade", "BustTrade", "Settle", "Delivery", "KindOfTomorrow")
    rows = [execution_row(execId=kind, execType=kind, seq=20 + n) for n, kind in enumerate(kinds)]
    taxes = [{"feeCoin": "USDT", "feeType": "TAX", "fee": "0.1"}]
    take(wired, pushed("execution", *rows, execution_row(execId="taxed", extraFees=taxes, feeCurrency="USDC")))
    await settled(wired)
    stored = {
        row["exec_id"]: row
        for row in await pool.fetch("SELECT * FROM trading.fills WHERE account_id = $1", wired.account.id)
    }
    assert {exec_id: row["exec_type"] for exec_id, row in stored.items() if exec_id != "taxed"} == {
        kind: kind for kind in kinds
    }
    assert stored["taxed"]["fee_currency"] == "USDC"
    assert stored["taxed"]["extra_fees"] == taxes


async def test_a_row_that_cannot_be_read_is_kept_whole_and_the_others_are_taken(
    wired: Wired, pool: Any, links: RedisClients
) -> None:
    frame = pushed("execution", execution_row(execId="good"), execution_row(execId="bad", execQty="many"))
    take(wired, frame)
    await settled(wired)
    assert await pool.fetchval("SELECT exec_id FROM trading.fills WHERE account_id = $1", wired.account.id) == "good"
    assert len(wired.lost) == 1

    async def kept() -> bool:
        query = "SELECT message FROM audit.rejected_messages WHERE account_id = $1"
        return [row["message"] for row in await pool.fetch(query, wired.account.id)] == [frame]

    await until(kept, 5, "the message to be kept whole")

    async def alerted() -> bool:
        return any(fields["bot"] == BOT for fields in await raised_alerts(links.shared))

    await until(alerted, 5, "an alert")


async def test_a_storm_of_unreadable_messages_is_kept_whole_and_told_in_a_few_alerts(
    wired: Wired, pool: Any, links: RedisClients
) -> None:
    before = len(await raised_alerts(links.shared))
    storm = [pushed("execution", execution_row(execId=f"storm-{n}", execQty="many")) for n in range(300)]
    for number, frame in enumerate(storm):
        take(wired, frame)
        if number % 50 == 0:
            await asyncio.sleep(0)
    await wired.rejected.drained()
    await wired.grouped.tell(all_of_it=True)
    query = "SELECT message FROM audit.rejected_messages WHERE account_id = $1"
    assert sorted(row["message"] for row in await pool.fetch(query, wired.account.id)) == sorted(storm)
    texts = [fields["text"] for fields in (await raised_alerts(links.shared))[before:]]
    assert len(texts) == 2, "the first at once, and one for all that followed"
    assert sum(int(text.split()[0]) for text in texts) == 300


async def test_of_a_storm_beyond_all_room_the_first_of_each_kind_is_kept_and_the_rest_is_counted(
    pool: Any, links: RedisClients
) -> None:
    """PostgreSQL stores nothing meanwhile; kinds differ in fault, topic or source, not in numbers."""
    user = str(await pool.fetchval("SELECT 900000 + count(*) FROM trading.accounts"))
    number = await pool.fetchval("SELECT trading.register_account('simulated', $1, $2)", user, BOT)
    grouped = AlertBatcher(Alerts(links.shared, "test"))
    rejected = RejectedMessages(pool, grouped)

    def put(n: int, fault: str, topic: str) -> None:
        rejected.put(RejectedMessage("private stream", f"{topic} {n}", fault, number, BOT, topic))

    for n in range(12_000):
        put(n, f"execQty of 'exec-{n}' is {n} many.", "execution")
        if n % 4_000 == 0:
            put(n, "Not a list.", f"order.{n}")
    put(12_000, "Not JSON.", "wallet")
    assert (rejected.count, rejected.lost, rejected.lost_of) == (12_004, 12_004 - 5_000 - 3, {BOT: 7_001})
    storing = asyncio.create_task(rejected.run())
    await rejected.drained()
    storing.cancel()
    rows = await pool.fetch("SELECT message FROM audit.rejected_messages WHERE account_id = $1", number)
    kept = {row["message"] for row in rows}
    assert len(kept) == len(rows) == 5_003
    assert {"execution 0", "order.0 0", "wallet 12000", "execution 11999"} <= kept
    await grouped.tell(all_of_it=True)
    *_, alert = await raised_alerts(links.shared)
    assert alert["text"].startswith("12004 messages")
    assert "7001 since the start were only counted" in alert["remedy"]


async def test_a_new_kind_may_come_while_an_alert_is_on_its_way(links: RedisClients) -> None:
    grouped = AlertBatcher(Alerts(links.shared, "test"))

    def alert(name: str) -> Make:
        return lambda count, about: Alert(Level.WARNING, name, f"{count} of {name}: {about}")

    grouped.note("first", alert("first"), about=["B", "A"])
    telling = asyncio.create_task(grouped.tell())
    await asyncio.sleep(0)
    grouped.note("second", alert("second"))
    await telling
    await grouped.tell()
    texts = [fields["text"] for fields in await raised_alerts(links.shared)]
    assert texts == ["1 of first: ['A', 'B']", "1 of second: []"]


async def test_an_unreadable_message_that_cannot_be_stored_holds_up_no_other(wired: Wired, pool: Any) -> None:
    wired.rejected.put(RejectedMessage("private stream", "good 1", "fault", wired.account.id, BOT))
    wired.rejected.put(RejectedMessage("private stream", "no such account", "fault", 32_000, BOT))
    wired.rejected.put(RejectedMessage("private stream", "half a character \ud800", "fault", wired.account.id, BOT))
    wired.rejected.put(RejectedMessage("private stream", "good 2", "fault", wired.account.id, BOT))
    await wired.rejected.drained()
    query = "SELECT message FROM audit.rejected_messages WHERE account_id = $1 ORDER BY 1"
    assert [row["message"] for row in await pool.fetch(query, wired.account.id)] == ["good 1", "good 2"]


async def test_lists_in_lists_without_end_are_kept_and_end_nothing(wired: Wired) -> None:
    frame = '{"topic":"order","data":[' + '{"a":' * 900 + "1" + "}" * 900 + "]}"
    take(wired, frame)
    take(wired, pushed("execution", execution_row(execId="the-next-one")))
    await settled(wired)
    assert wired.feed.unread == 1


async def test_one_row_that_postgresql_refuses_does_not_hold_up_the_others(wired: Wired, pool: Any) -> None:
    good = [execution(execId=f"good-{n}") for n in range(20)]
    for number, row in enumerate(good):
        if number == 11:
            bad = execution(execId="bad")
            fill = fill_of(bad, wired.account, reason_of_execution(bad, None), NOW)
            wired.database.put(structs.replace(fill, side="Sideways"))
        wired.database.put(fill_of(row, wired.account, reason_of_execution(row, None), NOW))
    await settled(wired)
    assert await pool.fetchval("SELECT count(*) FROM trading.fills WHERE account_id = $1", wired.account.id) == 20
    assert len(wired.refused) == 1


async def test_connections_that_postgresql_ends_again_and_again_lose_no_row(
    wired: Wired, database: Any, pool: Any
) -> None:
    for n in range(60):
        row = execution(execId=f"cut-{n}")
        wired.database.put(fill_of(row, wired.account, reason_of_execution(row, None), NOW))
        await asyncio.sleep(0)
        await database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'test' AND state <> 'idle'"
        )
    await settled(wired)
    rows = await database.fetch("SELECT exec_id FROM trading.fills WHERE account_id = $1", wired.account.id)
    assert {row["exec_id"] for row in rows} == {f"cut-{n}" for n in range(60)}
    assert wired.refused == []


async def test_a_full_buffer_drops_and_reports_and_grows_no_further(wired: Wired, pool: Any) -> None:
    async with pool.acquire() as holder, holder.transaction():
        await holder.execute("LOCK TABLE trading.fills IN ACCESS EXCLUSIVE MODE")
        for n in range(300):
            row = execution(execId=f"many-{n}")
            wired.database.put(fill_of(row, wired.account, reason_of_execution(row, None), NOW))
        assert len(wired.database) == 200
        assert wired.dropped == [wired.account.id] * 100
        assert not await wired.database.stored_until(time.monotonic(), 0.0), "what came before still waits"
    await settled(wired)
    assert await wired.database.stored_until(time.monotonic(), 0.0)
    assert wired.database.counts.batches <= 2, "what has gathered goes in one statement, not row by row"
    assert await pool.fetchval("SELECT count(*) FROM trading.fills WHERE account_id = $1", wired.account.id) == 200


async def test_a_terminal_order_is_not_overwritten_by_a_late_message(wired: Wired, pool: Any) -> None:
    states = [
        order(orderStatus="Filled", cumExecQty="0.5", updatedTime=str(START_MS + 5)),
        order(orderStatus="New", updatedTime=str(START_MS + 9)),
        order(orderStatus="PartiallyFilled", cumExecQty="0.2", updatedTime=str(START_MS + 1)),
    ]
    for state in states:
        wired.database.put(order_row(state, wired.account, reason_of_order(state, None), NOW))
        await wired.database.drained()
    rows = await pool.fetch("SELECT status, cum_exec_qty FROM trading.orders WHERE account_id = $1", wired.account.id)
    assert [(row["status"], row["cum_exec_qty"]) for row in rows] == [("Filled", Decimal("0.5"))]


def stop_state(after_ms: int, trigger: str, **changes: object) -> Order:
    """A stop loss that waits at this trigger, so many ms after it was made."""
    states = {"orderStatus": "Untriggered", "triggerPrice": trigger, "updatedTime": str(START_MS + after_ms)}
    kind = {"orderId": "stop-1", "side": "Sell", "orderType": "Market", "stopOrderType": "StopLoss"}
    return order(**{**kind, **states, **changes})


@pytest.mark.parametrize("at_once", [False, True], ids=["one by one", "in one batch, out of order"])
async def test_each_level_at_which_a_stop_waited_is_kept(wired: Wired, pool: Any, at_once: bool) -> None:
    states = [
        stop_state(0, "36000"),
        stop_state(5, "36500"),
        stop_state(6, "36500", qty="0.4"),
        stop_state(9, "36000"),
        stop_state(12, "37000", orderStatus="Filled", cumExecQty="0.4"),
    ]
    rows = [order_row(state, wired.account, reason_of_order(state, None), NOW) for state in states]
    async with pool.acquire() as connection:
        if at_once:
            await upsert_orders(connection, rows[::-1])
            await upsert_orders(connection, rows[:2])
        else:
            for row in rows:
                await upsert_orders(connection, [row])
    levels = await pool.fetch(
        "SELECT since, trigger_price, reason FROM trading.stop_levels WHERE account_id = $1 ORDER BY since",
        wired.account.id,
    )
    assert [(ms_of(row["since"]) - START_MS, row["trigger_price"]) for row in levels] == [
        (0, 36000), (5, 36500), (9, 36000), (12, 37000),
    ]  # fmt: skip
    assert {row["reason"] for row in levels} == {"stop_loss"}
    states_now = await pool.fetch("SELECT status FROM trading.orders WHERE account_id = $1", wired.account.id)
    assert [row["status"] for row in states_now] == ["Filled"]


async def test_a_closed_order_does_not_come_back_to_life(wired: Wired, links: RedisClients) -> None:
    wired.feed.take_order(order())
    wired.feed.take_order(order(orderStatus="Cancelled", updatedTime=str(START_MS + 5)))
    wired.feed.take_order(order(updatedTime=str(START_MS + 1)))
    await settled(wired)
    assert await read_orders(links.database(2), BOT) == {}


async def test_an_older_position_is_ignored_and_a_flat_one_stays_flat(wired: Wired, links: RedisClients) -> None:
    wired.feed.take_position(position(seq=10))
    wired.feed.take_position(position(seq=12, side="", size="0", entryPrice="0"))
    wired.feed.take_position(position(seq=11, size="2"))
    await settled(wired)
    found = await read_position(links.database(2), BOT, "BTCUSDT")
    assert found is not None
    assert (found.size, found.seq) == (Decimal(0), 12)
    assert await read_positions(links.database(2), BOT) == []


async def test_redis_itself_refuses_an_older_position_whoever_sends_it(wired: Wired, links: RedisClients) -> None:
    wired.feed.take_position(position(seq=10))
    await settled(wired)
    wired.live.put(("POSITION", "BTCUSDT", "9", str(START_MS + 99), "1", "", "size", "7", "seq", "9"))

    async def ignored() -> bool:
        return wired.live.ignored == 1

    await until(ignored, 10, "the refusal of Redis")
    found = await read_position(links.database(2), BOT, "BTCUSDT")
    assert found is not None
    assert (found.size, found.seq) == (Decimal("0.5"), 10)


async def test_an_absurd_sequence_that_an_earlier_process_left_in_redis_holds_nothing_back(
    wired: Wired, links: RedisClients
) -> None:
    await settled(wired)
    key = keys.position(BOT, "BTCUSDT")
    await links.database(2).hset(key, mapping={"side": "", "size": "0", "seq": "1728000010", "updated_at": "1"})
    wired.feed.take_position(position(seq=10))

    async def shown() -> bool:
        found = await read_position(links.database(2), BOT, "BTCUSDT")
        return found is not None and found.size == Decimal("0.5")

    await until(shown, 10, "the position in Redis")
    assert set(await links.database(2).smembers(keys.positions(BOT))) == {"BTCUSDT"}


async def test_marks_move_profit_and_equity_without_a_push(wired: Wired, links: RedisClients) -> None:
    wired.feed.take_position(position(size="2", entryPrice="37000"))
    wired.book.wallet.take(wallet(), START_MS)
    wired.book.mark(START_MS)
    await settled(wired)
    found, money = await read_position(links.database(2), BOT, "BTCUSDT"), await read_wallet(links.database(2), BOT)
    assert found is not None
    assert money is not None
    assert found.unrealised_pnl == Decimal("400")
    assert money.equity == Decimal("1400")


async def test_an_emptied_redis_is_written_anew_and_no_fill_goes_untold(wired: Wired, links: RedisClients) -> None:
    wired.feed.take_position(position())
    wired.feed.take_order(order())
    wired.book.wallet.take(wallet(), START_MS)
    await settled(wired)
    await links.database(2).flushdb()
    take(wired, pushed("execution", execution_row(execId="while-it-was-empty", seq=11)))

    async def back() -> bool:
        return [row.symbol for row in await read_positions(links.database(2), BOT)] == ["BTCUSDT"]

    await until(back, 10, "the live state to be written anew")
    assert list(await read_orders(links.database(2), BOT)) == ["order-1"]
    money = await read_wallet(links.database(2), BOT)
    assert money is not None
    assert money.wallet_balance == 1000
    assert len(await events(links, "resync")) == 1
    assert [event["exec_id"] for event in await events(links, "fill")] == ["while-it-was-empty"]


async def test_the_first_fill_of_a_symbol_waits_for_its_order_and_is_no_gap(wired: Wired, pool: Any) -> None:
    take(wired, pushed("execution", execution_row(symbol="XRPUSDT", execId="first", orderId="order-x")))
    assert wired.feed.wanted(time.monotonic()) == ""
    assert "XRPUSDT" in wired.feed.wanted(time.monotonic() + MODE_WAIT_S)
    assert wired.lost == [], "nothing was lost"
    wired.feed.take_order(order(symbol="XRPUSDT", orderId="order-x", positionIdx=2))
    await settled(wired)
    row = await pool.fetchrow("SELECT leg FROM trading.fills WHERE account_id = $1", wired.account.id)
    assert row["leg"] == "short"
    take(wired, pushed("execution", {**execution_row(execId="old form", execType="Funding"), "seq": None}))
    assert "old form" in wired.feed.wanted(time.monotonic())
    assert wired.lost == []
