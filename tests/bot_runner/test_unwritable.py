"""PostgreSQL answers and takes no write, for hours: bots and the guard keep stops and exits, and nothing ends."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from alpha.errors import AlphaError
from alpha.postgres.database import Connection, connect
from tests.bot_runner.conftest import STEP
from tests.faults.disk import SmallDisk
from tests.support.bot_harness import BotHarness, Servers, trades
from tests.support.guard_harness import Hands, acts, answer, command, flat, guard, halts
from tests.support.world import until

#: A crowded machine is no fault of theirs.
pytestmark = pytest.mark.timeout(500)
#: Bars of five minutes that pass while nothing can be written.
HOURS = 12 * 3


@dataclass
class Store:
    """Servers whose PostgreSQL can be made to take no write."""

    servers: Servers
    disk: SmallDisk | None

    async def refuse(self) -> None:
        """From now on no write succeeds."""
        if self.disk is None:
            await self._read_only("on")
            return
        self.disk.fill()
        connection = await connect(self.servers.postgres.settings(), "test")
        # segments of its log that were made in advance still take small writes: until they are used up nothing is refused
        with pytest.raises((asyncpg.PostgresError, OSError)):
            await _fill_the_log(connection)
        connection.terminate()

    async def allow(self) -> None:
        """Writes succeed again."""
        if self.disk is None:
            await self._read_only("off")
            return
        self.disk.clear()
        try:
            connection = await connect(self.servers.postgres.settings(), "test")
            await connection.close()
        except AlphaError:
            # a server that cannot write its log ends; whoever runs it starts it again
            self.servers.postgres.stop("immediate")
            self.servers.postgres.start()

    async def _read_only(self, value: str) -> None:
        connection = await connect(self.servers.postgres.settings(), "test")
        # ALTER SYSTEM is no transaction of the database: it works on a server that is read-only
        await connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()


async def _fill_the_log(connection: Connection) -> None:
    for _ in range(1_000):
        await connection.execute("SELECT pg_logical_emit_message(true, 'fill', repeat('x', 1000000))")


@pytest.fixture(params=["read-only", pytest.param("full disk", marks=pytest.mark.long)])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    servers, disk = Servers(), None
    if request.param == "full disk":
        disk, why = SmallDisk.mounted(servers.postgres.folder)
        if disk is None:
            pytest.skip(f"no disk can be filled: {why}")
    servers.start()
    yield Store(servers, disk)
    servers.stop()
    if disk is not None:
        disk.unmount()


@pytest.fixture
async def stage(request: pytest.FixtureRequest, tmp_path: Path, store: Store) -> AsyncIterator[BotHarness]:
    options = STEP if "bot" in request.node.name else ()
    made = BotHarness(tmp_path, speed="1", options=options, servers=store.servers)
    await made.open()
    yield made
    made.close()


async def test_a_bot_exits_and_enters_nothing(stage: BotHarness, store: Store) -> None:
    bot = stage.toy(SHORTSELLER_HOLD_BARS="2")
    await stage.play(bot)
    await stage.bars(1)
    assert await stage.position() is not None
    await store.refuse()
    await stage.bars(3)
    assert await stage.position() is None
    assert [row["reason"] for row in trades(bot)] == ["entry", "time_limit"]
    for _ in range(HOURS // 6):
        await stage.bars(6)
    assert len(await stage.fills()) == 2, "nothing is entered that cannot be remembered"
    await store.allow()
    await until(_passing_a_bar(stage, lambda fills: fills > 2), 60, "entries once PostgreSQL takes writes again")
    assert bot.running


async def test_the_guard_keeps_stops_and_closes(stage: BotHarness, store: Store) -> None:
    process = guard(stage)
    process.start()
    await acts(process)
    await store.refuse()
    hands = Hands(stage)
    try:
        await hands.open("BTCUSDT", "Buy", "0.1")

        async def protected() -> bool:
            held = await hands.position("BTCUSDT")
            return held is not None and float(held["stopLoss"] or 0) > 0

        for _ in range(3):
            await until(protected, 60, "the stop")
            await hands.stop_at("BTCUSDT", stopLoss="0")
        sent = await command(stage, "panic", {})
        await until(lambda: flat(stage), 60, "the account to be flat")
        assert process.running
        await store.allow()
        assert (await answer(stage, sent)).outcome == "done"

        async def halted() -> bool:
            return ("panic", "shortseller_001") in await halts(stage)

        await until(halted, 90, "the halt to follow")
        assert process.running
    finally:
        await hands.close()


def _passing_a_bar(stage: BotHarness, enough: Callable[[int], bool]) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        await stage.bars(1)
        return enough(len(await stage.fills()))

    return look
