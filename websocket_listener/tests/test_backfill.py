"""Reading a history over REST: oldest first, resumable, with progress; rows that cannot be read or stored."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from alpha.alert_batcher import AlertBatcher
from alpha.alerts import Alerts
from alpha.bybit.client import Gateway
from alpha.bybit.hosts import simulated_hosts
from alpha.bybit.rate_limiter import RateLimiter
from alpha.bybit.session import Credentials
from alpha.errors import Rejected
from alpha.live_state.connect import RedisClients
from alpha.model.account import Account, Environment
from alpha.model.timestamp import ms_of
from alpha.postgres.rejected import RejectedMessages
from demo.ports import free_port
from tests.support.history import DAY_MS, History
from tests.support.world import until
from websocket_listener.account_state import AccountState
from websocket_listener.backfill import Backfill
from websocket_listener.dispatcher import Dispatcher
from websocket_listener.postgres_writer import PostgresWriter
from websocket_listener.redis_writer import RedisWriter
from websocket_listener.status import BotStatus
from websocket_listener.tests.rows import START_MS, Held, execution_row, nobody_else

BOT = "lxalgo_001"
OVERLAP_MS = 10_000


def history(executions: int) -> History:
    """Six days with so many executions."""
    return History(lambda n: execution_row(execId=f"exec-{n}", orderId=f"order-{n}", seq=n), executions, START_MS)


@asynccontextmanager
async def served(known: History) -> AsyncIterator[str]:
    """The address of an exchange with this history."""
    port = free_port()
    runner = web.AppRunner(known.application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await runner.cleanup()


class Reader:
    """A back-fill as a listener that has just started has it, on the account `number`."""

    def __init__(self, address: str, number: int, pool: Any, links: RedisClients) -> None:
        self.gateway = Gateway(
            simulated_hosts(f"http://{address}", f"ws://{address}"),
            Credentials("key", "secret"),
            RateLimiter(links.shared),
            account=f"account-{number}",
        )
        self.rejected = RejectedMessages(pool, AlertBatcher(Alerts(links.shared, "test")))

        async def refused(row: object, fault: str) -> None:
            raise AssertionError(fault)

        live = RedisWriter(links.writer(1), BOT, Held(), rebuild=list, restored=lambda: None)
        database = PostgresWriter(pool, 100, dropped=lambda _: None, refused=refused)
        account = Account(number, BOT, Environment.SIMULATED, str(number))
        book, status, business = AccountState(BOT, live.put, {}), BotStatus(live.put), self.gateway.business
        feed = Dispatcher(account, book, live, database, status, self.rejected, business, lambda what: None)
        self.backfill = Backfill(feed, self.gateway, pool, self.rejected, history_days=7, only_holder=nobody_else)


@pytest.fixture
async def reader(pool: Any, links: RedisClients) -> AsyncIterator[Callable[[str], Reader]]:
    """Makes readers of one account that was never read."""
    user = str(await pool.fetchval("SELECT 700000 + count(*) FROM trading.accounts"))
    number = await pool.fetchval("SELECT trading.register_account('simulated', $1, $2)", user, BOT)
    made: list[Reader] = []

    def make(address: str) -> Reader:
        made.append(Reader(address, number, pool, links))
        return made[-1]

    yield make
    for one in made:
        await one.gateway.close()


async def stored(pool: Any, one: Reader) -> list[int]:
    """The numbers of the stored executions, oldest first."""
    rows = await pool.fetch(
        "SELECT seq FROM trading.fills WHERE account_id = $1 ORDER BY exec_time, seq", one.backfill._feed.account.id
    )
    return [row["seq"] for row in rows]


async def watermark(pool: Any, one: Reader) -> int | None:
    """Up to where it was read (ms)."""
    found = await pool.fetchval(
        "SELECT read_to FROM trading.watermarks WHERE account_id = $1", one.backfill._feed.account.id
    )
    return None if found is None else ms_of(found)


async def test_a_history_is_read_oldest_first_with_progress_and_goes_on_where_it_was_broken_off(
    pool: Any, reader: Callable[[str], Reader]
) -> None:
    known = history(3_000)
    cut_ms, go_on = START_MS + 3 * DAY_MS, asyncio.Event()

    async def hold(start_ms: int) -> None:
        if start_ms >= cut_ms:
            await go_on.wait()

    known.hold = hold
    async with served(known) as address:
        first = reader(address)
        reading = asyncio.create_task(first.backfill.read(OVERLAP_MS))

        async def the_older_half() -> bool:
            return (await watermark(pool, first) or 0) >= cut_ms - DAY_MS

        await until(the_older_half, 20, "the older windows to be stored")
        assert " of 2025-01-07 00:00, " in first.backfill.progress
        # killed here: what is stored is the older part without a hole, and the watermark says how far
        reading.cancel()
        await asyncio.wait({reading})
        mark, half = await watermark(pool, first), await stored(pool, first)
        assert mark is not None
        assert mark < known.end_ms - DAY_MS
        assert half == [n for n in range(3_000) if known.time_of(n) <= mark]

        known.asked_ms.clear()
        go_on.set()
        second = reader(address)
        read = await second.backfill.read(OVERLAP_MS)
        assert min(known.asked_ms) >= mark - OVERLAP_MS
        assert read.inserted == 3_000 - len(half)
        assert await stored(pool, second) == list(range(3_000))
        assert await watermark(pool, second) == known.end_ms
        assert second.backfill.progress == ""


async def test_a_row_that_postgresql_can_never_take_is_kept_aside_and_holds_up_no_other(
    pool: Any, reader: Callable[[str], Reader]
) -> None:
    known = history(150)
    known.changed[70] = {"orderLinkId": "half\x00a link"}
    async with served(known) as address:
        one = reader(address)
        await one.backfill.read(OVERLAP_MS)
        assert await stored(pool, one) == [n for n in range(150) if n != 70]
        assert await watermark(pool, one) == known.end_ms
        assert one.rejected.count == 1


async def test_a_row_that_cannot_be_read_holds_the_watermark_for_three_reads_and_is_then_kept_whole(
    pool: Any, reader: Callable[[str], Reader]
) -> None:
    known = history(150)
    known.changed[149] = {"execQty": "many"}
    async with served(known) as address:
        one = reader(address)
        for _ in range(2):
            with pytest.raises(Rejected):
                await one.backfill.read(OVERLAP_MS)
            mark = await watermark(pool, one)
            assert mark is None or mark < known.time_of(149)
        await one.backfill.read(OVERLAP_MS)
        assert await stored(pool, one) == list(range(149))
        assert await watermark(pool, one) == known.end_ms
        assert one.rejected.count == 1
