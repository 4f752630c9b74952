"""What `verify`, `rebuild` and a recomputation from a late fill cost on one long account, and whom they keep waiting.

    python -m tests.benchmarks.bench_recompute [--fills 1000000] [--partitions 0] [--convert]

The fills are made by the server: one account, four symbols, two years, about seven fills per round trip. While each command runs, a second
connection inserts a fill of the same ledgers every 50 ms, as the listener does: the longest of these inserts is the longest time
for which anything was locked. A conversion to partitions is broken off at a third and at two thirds and run again each time.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from alpha.config.services import DatabaseSettings
from alpha.postgres import ledger
from alpha.postgres.database import Connection, connect, fetch_one
from alpha.postgres.fills import Fill, insert_fills, recompute_pending
from alpha.postgres.migrate import migrate, register_bots
from alpha.postgres.partition import partition
from alpha.registry import load_registry
from demo.postgres import EmbeddedPostgres, binaries

ROOT = Path(__file__).resolve().parents[2]
BOT = "shortseller_001"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
START = datetime(2024, 11, 1, tzinfo=UTC)
DAYS = 730
PAUSE_S = 0.05
say = Console(stderr=True).print

#: $1 account, $2 how many, $3 start, $4 seconds in all. Of seven fills of a symbol four buy 1, two sell 1, the last sells 2.
_MADE = """
INSERT INTO trading.fills (account_id, bot_id, category, symbol, exec_id, order_id, order_link_id, side, exec_type, reason, price, qty,
    value, fee, fee_currency, closed_size, is_maker, seq, exec_time, received_at)
SELECT $1, 'shortseller_001', 'linear', ('{BTCUSDT,ETHUSDT,SOLUSDT,XRPUSDT}'::text[])[1 + n % 4], gen_random_uuid()::text,
    gen_random_uuid()::text, 'ss-' || CASE WHEN n / 4 % 7 < 4 THEN 'en' ELSE 'tp' END || '-' || substr(md5(n::text), 1, 22),
    CASE WHEN n / 4 % 7 < 4 THEN 'Buy' ELSE 'Sell' END, 'Trade', CASE WHEN n / 4 % 7 < 4 THEN 'entry' ELSE 'take_profit' END,
    p.price, q.qty, p.price * q.qty, round(p.price * q.qty * 0.00055, 8), 'USDT', CASE WHEN n / 4 % 7 < 4 THEN 0 ELSE q.qty END,
    n % 3 = 0, n, $3::timestamptz + make_interval(secs => floor(n * $4::float8 / $2 * 1000) / 1000),
    $3::timestamptz + make_interval(secs => floor(n * $4::float8 / $2 * 1000) / 1000)
FROM generate_series(0, $2::bigint - 1) AS n,
    LATERAL (SELECT (90000 + (n * 7919) % 10007)::numeric / 10 AS price) AS p,
    LATERAL (SELECT CASE WHEN n / 4 % 7 = 6 THEN 0.2 ELSE 0.1 END AS qty) AS q
"""


@dataclass
class Waits:
    """How long inserts beside the work took, in seconds."""

    longest_s: float = 0.0
    inserts: int = 0
    spent: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Line:
    """One row of the table."""

    what: str
    seconds: float
    waits: Waits
    more: str = ""


async def load(settings: DatabaseSettings, count: int) -> int:
    """Migrate, make the fills without triggers and with the indexes last; returns the account."""
    connection = await connect(settings, "bench")
    await migrate(connection)
    await register_bots(connection, load_registry(ROOT / "bots.toml"))
    account: int = await connection.fetchval("SELECT trading.register_account('simulated', 'long', $1)", BOT)
    kept = await connection.fetch(
        "SELECT pg_get_indexdef(indexrelid) AS made, indexrelid::regclass::text AS name FROM pg_index "
        "WHERE indrelid = 'trading.fills'::regclass AND NOT indisprimary"
    )
    await connection.execute("SET maintenance_work_mem = '1GB'; ALTER TABLE trading.fills DISABLE TRIGGER USER")
    await connection.execute("ALTER TABLE trading.fills DROP CONSTRAINT fills_pkey")
    for index in kept:
        await connection.execute(f"DROP INDEX {index['name']}")
    await connection.execute(_MADE, account, count, START, DAYS * 86_400.0, timeout=None)
    await connection.execute(
        "ALTER TABLE trading.fills ADD PRIMARY KEY (account_id, category, symbol, exec_id)", timeout=None
    )
    for index in kept:
        await connection.execute(index["made"], timeout=None)
    await connection.execute("ALTER TABLE trading.fills ENABLE TRIGGER USER")
    await connection.execute("VACUUM ANALYZE trading.fills", timeout=None)
    await connection.close()
    return account


def one(account: int, number: int, moment: datetime) -> Fill:
    """A buy or a sale in turn, of each symbol in turn."""
    price, qty = Decimal("9500.1"), Decimal("0.1")
    return Fill(
        account, BOT, "linear", SYMBOLS[number // 2 % 4], f"live-{number}", f"order-{number}", None, "Sell" if number % 2 else "Buy",
        "Trade", "entry", price, qty, price * qty, Decimal("0.5"), "USDT", qty if number % 2 else Decimal(0), None, None, False,
        10**12 + number, moment, moment,
    )  # fmt: skip


class Writer:
    """Somebody who inserts a fill of the same ledgers now and then."""

    def __init__(self, settings: DatabaseSettings, account: int) -> None:
        self._settings = settings
        self._account = account
        self._number = 0
        self._moment = START + timedelta(days=DAYS + 1)

    async def beside(self, work: Callable[[], Awaitable[object]]) -> tuple[float, Waits]:
        """Seconds of the work, and what the inserts beside it had to wait."""
        waits = Waits()
        connection = await connect(self._settings, "bench")
        running = asyncio.ensure_future(work())
        started = time.perf_counter()
        while not running.done():
            began = time.perf_counter()
            await insert_fills(connection, [one(self._account, self._number, self._moment)])
            waits.spent.append(time.perf_counter() - began)
            self._number += 1
            self._moment += timedelta(seconds=1)
            await asyncio.wait({running}, timeout=PAUSE_S)
        seconds = time.perf_counter() - started
        await running
        await connection.close()
        waits.longest_s, waits.inserts = max(waits.spent), len(waits.spent)
        return seconds, waits


class BrokenOffError(Exception):
    """The conversion is to be run again."""


async def converted(settings: DatabaseSettings, partitions: int) -> str:
    """Convert in three runs: the first two are broken off, and the next one goes on where they were."""
    shares: list[float] = []
    for end in (1 / 3, 2 / 3, 2.0):
        seen: list[float] = []

        def progress(share: float, seen: list[float] = seen, end: float = end) -> None:
            seen.append(share)
            if share >= end:
                raise BrokenOffError

        try:
            found = await partition(settings, partitions, progress)
        except BrokenOffError:
            shares.append(seen[-1])
            continue
        if seen[0] < shares[-1]:
            raise AssertionError(f"the last run began anew, at {seen[0]:.0%}")
        return f"{found.rows:,} rows compared; broken off at {' and '.join(f'{share:.0%}' for share in shares)}"
    raise AssertionError("the conversion did not end")


async def vacuum(settings: DatabaseSettings, what: str) -> Line:
    """A VACUUM that freezes, as the first one after a load, which writes every page."""
    connection = await connect(settings, "bench")
    started = time.perf_counter()
    await connection.execute("VACUUM (FREEZE, ANALYZE) trading.fills", timeout=None)
    seconds = time.perf_counter() - started
    await connection.close()
    return Line(what, seconds, Waits())


async def sizes(connection: Connection) -> list[tuple[str, str]]:
    """Bytes per row: of the table, of each index, of the texts that say the same in every row."""
    rows = await connection.fetchval("SELECT count(*) FROM trading.fills")
    heap = await connection.fetchval(
        "SELECT sum(pg_table_size(relid)) FROM pg_partition_tree('trading.fills') WHERE isleaf"
    ) or await connection.fetchval("SELECT pg_table_size('trading.fills')")
    found = [("table", f"{heap / rows:.0f} bytes a row")]
    for row in await connection.fetch(
        "SELECT c.relname AS name, (SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree(c.oid) WHERE isleaf) AS size, "
        "pg_relation_size(c.oid) AS alone FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "WHERE i.indrelid = 'trading.fills'::regclass ORDER BY 1"
    ):
        found.append((f"index {row['name']}", f"{(row['size'] or row['alone']) / rows:.1f} bytes a row"))
    texts = ("bot_id", "category", "symbol", "side", "exec_type", "reason", "fee_currency", "leg")
    sums = ", ".join(f"avg(pg_column_size({name}))::float8 AS {name}" for name in texts)
    average = await fetch_one(connection, f"SELECT {sums} FROM trading.fills TABLESAMPLE SYSTEM (1)")
    found.append(("constant texts", ", ".join(f"{name} {average[name]:.0f}" for name in texts)))
    return found


async def bench(
    settings: DatabaseSettings, count: int, partitions: int, *, convert: bool
) -> tuple[list[Line], list[tuple[str, str]]]:
    """Everything, on `count` fills; with `convert` the conversion, VACUUM and backup alone."""
    started = time.perf_counter()
    account = await load(settings, count)
    say(f"{count:,} fills made in {time.perf_counter() - started:.0f} s")
    lines: list[Line] = []
    if convert:
        lines.append(await vacuum(settings, "VACUUM (FREEZE, ANALYZE), one table"))
        say(f"VACUUM of one table: {lines[-1].seconds:.1f} s")
        seconds, size = await asyncio.to_thread(dump, settings)
        lines.append(Line("pg_dump, one table", seconds, Waits(), f"{size / 2**20:,.0f} MiB"))
        say(f"pg_dump of one table: {seconds:.1f} s, {size / 2**20:,.0f} MiB")
    else:
        # as the listener's inserts would have left it: they were loaded without triggers
        await ledger.rebuild(settings, lambda fills: None)
    writer = Writer(settings, account)

    async def run(what: str, work: Callable[[], Awaitable[Any]]) -> Any:
        result: Any = None

        async def kept() -> None:
            nonlocal result
            result = await work()

        seconds, waits = await writer.beside(kept)
        lines.append(Line(what, seconds, waits, "" if result is None else str(result)))
        say(f"{what}: {seconds:.1f} s, longest insert beside it {waits.longest_s * 1000:.0f} ms of {waits.inserts}")
        return result

    if partitions:
        await run("alpha db partition", lambda: converted(settings, partitions))
    if convert:
        return await _stored(settings, lines)

    async def verified(since: datetime | None = None) -> str:
        found = await ledger.verify(settings, lambda fills: None, since=since)
        return f"{found.fills:,} fills, {len(found.differences)} differences"

    recent = START + timedelta(days=DAYS - 30)
    await run("alpha db rebuild", lambda: ledger.rebuild(settings, lambda fills: None))
    await run("alpha db verify", verified)
    await run("alpha db rebuild --since, 30 days", lambda: ledger.rebuild(settings, lambda fills: None, since=recent))
    await run("alpha db verify --since, 30 days", lambda: verified(recent))

    async def late() -> None:
        connection = await connect(settings, "bench")
        await insert_fills(connection, [one(account, 10**9, START + timedelta(days=DAYS / 2))])
        await recompute_pending(connection)
        await connection.close()

    await run("a late fill in the middle, settled", late)
    await run("alpha db verify", verified)
    return await _stored(settings, lines)


async def _stored(settings: DatabaseSettings, lines: list[Line]) -> tuple[list[Line], list[tuple[str, str]]]:
    """Add what VACUUM and a backup take, and what is on the disk."""
    lines.append(await vacuum(settings, "VACUUM (FREEZE, ANALYZE)"))
    connection = await connect(settings, "bench")
    found = await sizes(connection)
    await connection.close()
    seconds, size = await asyncio.to_thread(dump, settings)
    lines.append(Line("pg_dump, as postgres_backup runs it", seconds, Waits(), f"{size / 2**20:,.0f} MiB"))
    return lines, found


def dump(settings: DatabaseSettings) -> tuple[float, int]:
    """Seconds and bytes of a backup's pg_dump."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dump"
        started = time.perf_counter()
        subprocess.run(
            [
                *(str(binaries() / "pg_dump"), "--format=custom", "--compress=6", f"--file={path}"),
                *("-h", settings.postgres_host, "-p", str(settings.postgres_port), "-U", settings.postgres_user),
                f"--dbname={settings.postgres_db}",
            ],
            check=True,
            env={**os.environ, "PGPASSWORD": settings.postgres_password.get_secret_value()},
        )
        return time.perf_counter() - started, path.stat().st_size


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What verify, rebuild and settling cost on one long account.")
    parser.add_argument("--fills", type=int, default=1_000_000)
    parser.add_argument("--partitions", type=int, default=0, help="convert first, into so many")
    parser.add_argument("--convert", action="store_true", help="the conversion, VACUUM and backup alone")
    words = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="alpha-bench-"))
    server = EmbeddedPostgres(folder / "postgres", "bench")
    try:
        server.start()
        lines, found = asyncio.run(bench(server.settings(), words.fills, words.partitions, convert=words.convert))
    finally:
        server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)
    table = Table(title=f"{words.fills:,} fills of one account")
    for column in ("what", "seconds", "longest insert beside it", "inserts", "result"):
        table.add_column(column, justify="left" if column in {"what", "result"} else "right")
    for line in lines:
        longest = f"{line.waits.longest_s * 1000:.0f} ms" if line.waits.inserts else ""
        table.add_row(line.what, f"{line.seconds:.1f}", longest, str(line.waits.inserts or ""), line.more)
    Console(width=130).print(table)
    for name, size in found:
        print(f"{name}: {size}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
