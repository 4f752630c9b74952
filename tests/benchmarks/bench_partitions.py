"""What the ways to split `trading.fills` cost, beside one table.

    python -m tests.benchmarks.bench_partitions [--fills 300000] [--accounts 60]

The same fills of many accounts over three years are in each form; then each form is written to by turns with fills that follow.
Inserts are the listener's own statement with every trigger. The server's processor time is what counts: it does not depend on
the machine's other work.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from msgspec import structs
from rich.console import Console
from rich.table import Table

from alpha.config.services import DatabaseSettings
from alpha.postgres import ledger
from alpha.postgres.database import Connection, connect
from alpha.postgres.fills import INSERT_FILLS, Fill, batch_of
from alpha.postgres.migrate import migrate, register_bots
from alpha.postgres.partition import FORMER, STATE, Layout, begin, by_hash, change_names
from alpha.registry import load_registry
from demo.postgres import EmbeddedPostgres
from tests.benchmarks.bench_history import cpu
from tests.support.fill_generator import START, as_fill, raw_fills

ROOT = Path(__file__).resolve().parents[2]
BOT = "shortseller_001"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
#: A key that holds the time, which a split by time needs: an execution with another time would be stored twice.
TIMED_KEY = "account_id, category, symbol, exec_id, exec_time"
ROUNDS = 5
say = Console(stderr=True).print


@dataclass
class Form:
    """One way, its database, and what was measured: microseconds of the server per fill, milliseconds of a query."""

    name: str
    layout: Layout | None
    insert: str = INSERT_FILLS
    database: str = ""
    batch: dict[int, list[float]] = field(default_factory=dict)
    latest_ms: float = 0.0
    locks: int = 0
    vacuum_s: float = 0.0


def forms(accounts: int) -> list[Form]:
    """One table; by account, hashed and one each; by year."""
    of_account = Layout("LIST (account_id)", tuple(f"FOR VALUES IN ({n + 1})" for n in range(accounts)))
    years = range(START.year, START.year + 4)
    of_year = Layout(
        "RANGE (exec_time)", tuple(f"FOR VALUES FROM ('{y}-01-01Z') TO ('{y + 1}-01-01Z')" for y in years), TIMED_KEY
    )
    timed = INSERT_FILLS.replace("(account_id, category, symbol, exec_id) DO", f"({TIMED_KEY}) DO")
    return [
        Form("one table", None),
        Form("account, hashed, 8", by_hash(8)),
        Form("account, hashed, 32", by_hash(32)),
        Form(f"one per account, {accounts}", of_account),
        Form("year, 4", of_year, timed),
    ]


def made(accounts: int, count: int) -> list[Fill]:
    """About `count` fills of all accounts, in order of time."""
    each = max(100, count // accounts // len(SYMBOLS))
    rows = [
        as_fill(raw, account, BOT, symbol)
        for account in range(1, accounts + 1)
        for number, symbol in enumerate(SYMBOLS)
        for raw in raw_fills(account * 10 + number, each, 5_000_000, f"{account}-{symbol}", days=3 * 365)
    ]
    return sorted(rows, key=lambda row: row.exec_time)


async def load(server: DatabaseSettings, form: Form, accounts: int, rows: list[Fill]) -> Connection:
    """A database in this form with these fills."""
    owner = await connect(server.model_copy(update={"postgres_db": "postgres"}), "bench")
    await owner.execute(f"CREATE DATABASE {form.database}")
    await owner.close()
    connection = await connect(server.model_copy(update={"postgres_db": form.database}), "bench")
    await migrate(connection)
    await register_bots(connection, load_registry(ROOT / "bots.toml"))
    for number in range(accounts):
        await connection.execute("SELECT trading.register_account('simulated', $1, $2)", str(number), BOT)
    if form.layout is not None:
        async with connection.transaction():
            await begin(connection, form.layout)
            await change_names(connection)
            await connection.execute(f"DROP TABLE trading.{FORMER}, trading.{STATE}")
    for first in range(0, len(rows), 10_000):
        await connection.fetch(form.insert, batch_of(rows[first : first + 10_000]), timeout=600)
    await connection.execute("VACUUM ANALYZE", timeout=600)
    return connection


async def write(connection: Connection, form: Form, rows: list[Fill], batch: int) -> None:
    """Insert these rows and note the server's time per fill."""
    parts = [batch_of(rows[at : at + batch]) for at in range(0, len(rows), batch)]
    before = cpu(connection)
    for part in parts:
        await connection.fetch(form.insert, part)
    form.batch.setdefault(batch, []).append((cpu(connection) - before) / len(rows) * 1e6)


async def look(connection: Connection, form: Form) -> None:
    """A query by bot and time, the locks that one insert of a known fill takes, a VACUUM of all."""
    query = (
        "SELECT * FROM trading.fills WHERE bot_id = $1 AND exec_time >= $2 ORDER BY exec_time DESC, seq DESC LIMIT 100"
    )
    moment = datetime(2000, 1, 1, tzinfo=UTC)
    before = cpu(connection)
    for _ in range(200):
        await connection.fetch(query, BOT, moment)
    form.latest_ms = (cpu(connection) - before) / 200 * 1000
    async with connection.transaction():
        await connection.fetch(form.insert, batch_of([follow(1, 0)[0]]))
        form.locks = await connection.fetchval(
            "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'"
        )
    before = cpu(connection)
    await connection.execute("VACUUM (FREEZE) trading.fills", timeout=600)
    form.vacuum_s = cpu(connection) - before


def follow(accounts: int, turn: int, count: int = 4_000) -> list[Fill]:
    """Fills after all others, accounts mixed, in order of time."""
    rows = made(accounts, count)[:count]
    begin_at = START + timedelta(days=3 * 365 + 1, hours=turn)
    return [
        structs.replace(
            row, exec_id=f"{row.exec_id}-f{turn}", exec_time=begin_at + timedelta(milliseconds=n), seq=10**10 + turn
        )
        for n, row in enumerate(rows)
    ]


async def bench(server: EmbeddedPostgres, count: int, accounts: int) -> list[Form]:
    """Measure each form."""
    rows = made(accounts, count)
    measured = forms(accounts)
    open_: list[tuple[Form, Any]] = []
    for number, form in enumerate(measured):
        form.database = f"form_{number}"
        open_.append((form, await load(server.settings(), form, accounts, rows)))
        say(f"{form.name}: {len(rows):,} fills are in")
    for turn in range(ROUNDS):
        for batch in (1, 100):
            more = follow(accounts, 2 * turn + (batch > 1), 4_000 if batch > 1 else 400)
            for form, connection in open_:
                await write(connection, form, more, batch)
    for form, connection in open_:
        await look(connection, form)
        found = await ledger.verify(
            server.settings().model_copy(update={"postgres_db": form.database}), lambda fills: None
        )
        assert not found.differences, found.differences[:3]
        await connection.close()
    return measured


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What the ways to split the table of fills cost.")
    parser.add_argument("--fills", type=int, default=300_000)
    parser.add_argument("--accounts", type=int, default=60)
    words = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="alpha-bench-"))
    server = EmbeddedPostgres(folder / "postgres", "bench", durable=False)
    server.start()
    try:
        measured = asyncio.run(bench(server, words.fills, words.accounts))
    finally:
        server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)
    table = Table(title=f"{words.fills:,} fills of {words.accounts} accounts: the server's processor time")
    for column in ("form", "insert, single", "insert, 100", "latest 100 of a bot", "relations locked", "VACUUM FREEZE"):
        table.add_column(column, justify="right" if table.columns else "left")
    for form in measured:
        table.add_row(
            form.name,
            *(f"{median(form.batch[batch]):.0f} us" for batch in (1, 100)),
            f"{form.latest_ms:.2f} ms",
            str(form.locks),
            f"{form.vacuum_s:.2f} s",
        )
    Console(width=120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
