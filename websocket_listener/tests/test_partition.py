"""`trading.fills` becomes a partitioned table while a listener writes to it."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from alpha.clock import wall_ms
from alpha.config.loader import load
from alpha.live_state.connect import RedisClients
from alpha.postgres import ledger
from alpha.postgres.database import connect
from alpha.postgres.fills import insert_fills
from alpha.postgres.migrate import MigrateSettings, run
from alpha.postgres.partition import COPY, FORMER, STATE, partition
from demo.postgres import EmbeddedPostgres
from tests.support.fill_generator import as_fill, raw_fills
from tests.support.world import ROOT, Process, Simulator, until
from websocket_listener.tests.conftest import PASSWORD, ROLE_PASSWORD, ListenerMaker, Stores
from websocket_listener.tests.test_process import BOT, buy, fills_of, synced

ACCOUNT = 15
EARLIER = 25_000


@pytest.fixture
def maker(own: Stores, exchange: Simulator) -> Iterator[ListenerMaker]:
    """Starts listeners that write to that PostgreSQL; they are ended with it."""
    made = ListenerMaker(own, exchange)
    yield made
    for process in made.made:
        process.kill()


@pytest.fixture
async def database(own: Stores) -> AsyncIterator[Any]:
    """One connection to that PostgreSQL."""
    found = await connect(own.postgres.settings(), "test")
    yield found
    await found.close()


@pytest.fixture
def own(stores: Stores) -> Iterator[Stores]:
    """A PostgreSQL that no other test reads, with the Redis of all."""
    folder = Path(tempfile.mkdtemp(prefix="alpha-partition-"))
    postgres = EmbeddedPostgres(folder / "postgres", PASSWORD, durable=False)
    postgres.start()
    arguments = {name.lower(): value for name, value in postgres.environment().items()}
    bots = ROOT / "bots.toml"
    settings = load(
        MigrateSettings, env_file=None, bots_file=bots, alpha_listener_db_password=ROLE_PASSWORD, **arguments
    )
    asyncio.run(run(settings))
    yield Stores(postgres, stores.redis, stores.folder)
    postgres.stop("immediate")
    shutil.rmtree(folder, ignore_errors=True)


async def views(database: Any) -> dict[str, list[Any]]:
    """What the views say that read fills, and one that reads what is computed from them."""
    names = ("tagged_round_trips", "bot_daily_performance")
    return {name: await database.fetch(f"SELECT * FROM trading.{name} ORDER BY 1, 2, 3, 4, 5, 6") for name in names}


async def test_converted_while_a_listener_writes_through_a_kill(
    own: Stores, maker: ListenerMaker, database: Any, exchange: Simulator, links: RedisClients
) -> None:
    other = await database.fetchval("SELECT trading.register_account('simulated', 'earlier', 'lxalgo_001')")
    earlier = [as_fill(raw, other, "lxalgo_001", "BTCUSDT") for raw in raw_fills(3, EARLIER, 9_500_000, "e")]
    for first in range(0, EARLIER, 5_000):
        await insert_fills(database, earlier[first : first + 5_000])
    before = await database.fetch("SELECT * FROM trading.fills WHERE account_id = $1 ORDER BY exec_id", other)
    shown = await views(database)

    process = maker({"SHORTSELLER": f"key-{ACCOUNT}"})
    await synced(links, since_ms=wall_ms())
    trading = asyncio.create_task(trade(exchange))
    try:
        await killed_conversion(own, database)
        assert (await database.fetchval(f"SELECT next_block FROM trading.{STATE}")) > 0, "the next run continues"
        result = await partition(own.postgres.settings(), 4, lambda share: None, step_blocks=64)
        assert (result.partitions, result.rows > EARLIER) == (4, True)
        await buy(exchange, ACCOUNT, "0.1", "-0.1")
    finally:
        trading.cancel()
        await asyncio.gather(trading, return_exceptions=True)
    made = await exchange.ledger(f"key-{ACCOUNT}")

    async def stored() -> bool:
        return len(await fills_of(database, BOT, exchange, ACCOUNT)) >= len(made)

    await until(stored, 40, "every fill")
    process.kill()
    found = await fills_of(database, BOT, exchange, ACCOUNT)
    assert sorted(row["exec_id"] for row in found) == sorted(row["execId"] for row in made), "none lost, none doubled"
    assert await database.fetch("SELECT * FROM trading.fills WHERE account_id = $1 ORDER BY exec_id", other) == before
    assert await database.fetchval(f"SELECT to_regclass('trading.{FORMER}')") is None
    after = await views(database)
    for name, rows in shown.items():
        assert [row for row in after[name] if row["bot_id"] == "lxalgo_001"] == rows
    assert (await ledger.verify(own.postgres.settings(), lambda fills: None)).differences == []
    # a repeated insert stays one, and completes what was null
    again = await insert_fills(database, earlier[:100])
    assert (again.inserted, again.duplicates) == (0, 100)


async def trade(exchange: Simulator) -> None:
    """Market orders to and fro, for as long as it is left to."""
    while True:
        await buy(exchange, ACCOUNT, "0.2", "0.1", "-0.3")


async def killed_conversion(own: Stores, database: Any) -> None:
    """A conversion that is held up in the middle of its copying, then killed."""
    arguments = ["-m", "alpha", "db", "partition", "--partitions", "4"]
    command = Process("partition", arguments, own.postgres.environment(), own.folder)
    blocker = await asyncpg.connect(
        host="127.0.0.1", port=own.postgres.port, user="trading_user", password=PASSWORD, database="trading_db"
    )
    command.start()

    async def begun() -> bool:
        return bool(await database.fetchval(f"SELECT to_regclass('trading.{STATE}') IS NOT NULL"))

    async def waits() -> bool:
        return bool(
            await database.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'partition' AND wait_event_type = 'Lock'"
            )
        )

    await until(begun, 60, "the conversion to begin", step_s=0.005)
    transaction = blocker.transaction()
    await transaction.start()
    # a row of the last blocks: the copying waits to hear whether it is there already
    await blocker.execute(
        f"INSERT INTO trading.{COPY} SELECT * FROM trading.fills WHERE account_id <> 0 ORDER BY ctid DESC OFFSET 500 LIMIT 1"
    )
    await until(waits, 60, "the copying to come to the row", step_s=0.01)
    command.kill()
    await transaction.rollback()
    await blocker.close()

    async def noticed() -> bool:
        return not await database.fetchval("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'partition'")

    await until(noticed, 60, "PostgreSQL to notice that its client is gone")
