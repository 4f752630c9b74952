"""What the history costs: `make bench-history` (ARGS='--fills 1000000' for less).

Fills of three bots over two years are made from a seed in a PostgreSQL of its own; the floor of the insert is a bare
`INSERT ... SELECT` of the same batch into a copy of the table that has the same rows and its key, and nothing else.
"""

import argparse
import asyncio
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

import asyncpg
import psutil
from msgspec import structs
from rich.console import Console
from rich.table import Table

from alpha.config.services import DatabaseSettings
from alpha.postgres import ledger
from alpha.postgres.database import Connection, connect
from alpha.postgres.fills import INSERT_FILLS, Fill, batch_of
from alpha.postgres.migrate import migrate, register_bots
from alpha.registry import load_registry
from demo.postgres import EmbeddedPostgres
from tests.support.fill_generator import BOTS, DAYS, START, Raw, as_fill, raw_fills, streams

ROOT = Path(__file__).resolve().parents[2]
#: So many fills are made in Python; more are copies of them, one after the other in time.
MADE = 1_000_000
SMALL = 100_000
ROUNDS = 200
BARE = (
    INSERT_FILLS.replace("trading.fills", "trading.bare")
    .replace("fills.", "bare.")
    .replace("trading.bare.", "trading.")
)
_ROW = Iterator[tuple[str, str, Raw]]

say = Console(stderr=True).print


def _steps(number: int, places: int) -> str:
    """An integer of steps as a decimal text."""
    sign, digits = ("-" if number < 0 else ""), str(abs(number)).rjust(places + 1, "0")
    return f"{sign}{digits[:-places]}.{digits[-places:]}"


async def _lines(rows: Iterator[Raw], account: int, bot: str, symbol: str) -> AsyncIterator[bytes]:
    """Fills in the text format of COPY."""
    begin = START.timestamp()
    lines: list[str] = []
    for raw in rows:
        moment = (
            time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(begin + raw.time_ms // 1000))
            + f".{raw.time_ms % 1000:03d}+00"
        )
        value = _steps(raw.price * raw.qty, 5)
        lines.append(
            f"{account}\t{bot}\tlinear\t{symbol}\t{raw.exec_id}\t{raw.order_id}\t\\N\t{raw.side}\t{raw.exec_type}\t{raw.reason}\t"
            f"{_steps(raw.price, 2)}\t{_steps(raw.qty, 3)}\t{value}\t{_steps(raw.fee, 5)}\tUSDT\t{_steps(raw.closed, 3)}\t\\N\t\\N\t"
            f"{raw.is_maker}\t{raw.seq}\t{moment}\t{moment}\tboth\n"
        )
        if len(lines) == 5_000:
            yield "".join(lines).encode()
            lines.clear()
    yield "".join(lines).encode()


async def load(settings: DatabaseSettings, seed: int, count: int) -> None:
    """Fill the database: fills in bulk, then `rebuild`, then equity by the hour."""
    connection = await connect(settings, "bench")
    await migrate(connection)
    await register_bots(connection, load_registry(ROOT / "bots.toml"))
    accounts = {
        bot: await connection.fetchval("SELECT trading.register_account('simulated', $1, $1)", bot) for bot in BOTS
    }
    await connection.execute(
        "SET maintenance_work_mem = '1GB'; SET work_mem = '512MB'; "
        "CREATE TEMP TABLE made (LIKE trading.fills); "
        "ALTER TABLE trading.fills DISABLE TRIGGER update_rollups; "
        "ALTER TABLE trading.fills DROP CONSTRAINT fills_pkey; DROP INDEX trading.fills_by_symbol, trading.fills_by_bot"
    )
    started = time.perf_counter()
    for bot, symbol, rows in streams(seed, min(count, MADE)):
        source = _lines(rows, accounts[bot], bot, symbol)
        await connection.copy_to_table("made", columns=list(Fill.__struct_fields__), source=source, timeout=3600)
    copies = max(1, count // MADE)
    columns = ", ".join(name for name in Fill.__struct_fields__ if name not in {"exec_id", "exec_time", "seq"})
    for copy in range(copies):
        await connection.execute(
            f"INSERT INTO trading.fills ({columns}, exec_id, seq, exec_time) SELECT {columns}, exec_id || '-{copy}', "
            f"seq + {copy} * 10000000, '{START.isoformat()}'::timestamptz + interval '1 ms' * floor(extract(epoch FROM exec_time - "
            f"'{START.isoformat()}'::timestamptz) * 1000 / {copies}) + interval '{DAYS * 86_400 // copies * copy} s' "
            "FROM made ORDER BY exec_time",
            timeout=3600,
        )
    await connection.execute(
        "ALTER TABLE trading.fills ADD PRIMARY KEY (account_id, category, symbol, exec_id); "
        "CREATE INDEX fills_by_symbol ON trading.fills (account_id, category, symbol, exec_time, seq, leg); "
        "CREATE INDEX fills_by_bot ON trading.fills (bot_id, exec_time); "
        "ALTER TABLE trading.fills ENABLE TRIGGER update_rollups",
        timeout=3600,
    )
    await connection.execute("VACUUM ANALYZE trading.fills", timeout=3600)
    number = await connection.fetchval("SELECT count(*) FROM trading.fills")
    say(f"{number:,} fills made and indexed in {time.perf_counter() - started:.0f} s (seed {seed})")
    started = time.perf_counter()
    await ledger.rebuild(settings, lambda fills: None)
    say(f"books made from them in {time.perf_counter() - started:.0f} s")
    await connection.execute(
        "INSERT INTO trading.equity_snapshots SELECT account_id, t, 10000 + 500 * sin(extract(epoch FROM t) / 900000), 10000, 9000, 0 "
        f"FROM trading.accounts, generate_series('{START.isoformat()}'::timestamptz, '{START.isoformat()}'::timestamptz + "
        f"interval '{DAYS} days', '1 h') AS t",
        timeout=3600,
    )
    await connection.execute("VACUUM ANALYZE", timeout=3600)
    await connection.close()


def p95(values: list[float]) -> float:
    """The 95th percentile, in milliseconds."""
    return statistics.quantiles(values, n=20)[-1] * 1000


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    """Seconds that it took."""
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


QUESTIONS = {
    "daily view, one bot, 30 days": "SELECT * FROM trading.bot_daily_performance WHERE bot_id = $1 AND day >= $2 AND day < $3",
    "latest 100 round trips": "SELECT * FROM trading.position_summaries WHERE bot_id = $1 AND closed_at < $3 AND $2::date IS NOT NULL "
    "ORDER BY closed_at DESC LIMIT 100",
    "exit reasons of 30 days": "SELECT * FROM trading.exit_reasons($1, $2, $3)",
    "bot_performance of 30 days": "SELECT * FROM trading.bot_performance($1, $2, $3)",
    "symbols of 30 days": "SELECT * FROM trading.symbol_results($1, $2, $3)",
}
WHOLE = ("exit_reason_analysis", "bot_daily_performance", "symbol_performance")


def cpu(connection: Connection) -> float:
    """CPU seconds that the server has spent on this connection so far: what does not depend on the machine's other work."""
    times = psutil.Process(connection.get_server_pid()).cpu_times()
    return float(times.user + times.system)


async def ask(settings: DatabaseSettings, seed: int) -> dict[str, tuple[float, float]]:
    """Each question with random bots and periods (p95) and each whole view (median): milliseconds, and CPU of one."""
    rng = random.Random(seed)
    connection = await connect(settings, "bench")
    found: dict[str, tuple[float, float]] = {}
    for name, query in QUESTIONS.items():
        seconds = []
        before = cpu(connection)
        for _ in range(ROUNDS):
            start: date = START.date() + timedelta(days=rng.randrange(DAYS - 30))
            arguments = (rng.choice(list(BOTS)), start, start + timedelta(days=30))
            seconds.append(await timed(lambda q=query, a=arguments: connection.fetch(q, *a)))  # type: ignore[misc]
        found[name] = p95(seconds), (cpu(connection) - before) / ROUNDS * 1000
    for view in WHOLE:
        before = cpu(connection)
        runs = [await timed(lambda v=view: connection.fetch(f"SELECT * FROM trading.{v}")) for _ in range(7)]  # type: ignore[misc]
        found[f"whole {view}"] = statistics.median(runs) * 1000, (cpu(connection) - before) / len(runs) * 1000
    await connection.close()
    return found


def next_fills(accounts: dict[str, int], seed: int, count: int, a_day: float) -> list[Fill]:
    """Fills of all bots and symbols that follow those in the database, as many a day as those, in order of time."""
    days = count / a_day
    rows: list[Fill] = []
    number = 0
    for bot, (share, symbols) in BOTS.items():
        for symbol, price in symbols.items():
            number += 1
            for raw in raw_fills(seed * 77 + number, int(count * share / len(symbols)), price, f"n{seed}", days):
                rows.append(as_fill(raw, accounts[bot], bot, symbol))
    rows.sort(key=lambda fill: fill.exec_time)
    shift = timedelta(days=DAYS + 1 + 2 * days * seed)
    return [
        structs.replace(
            fill, exec_time=fill.exec_time + shift, exec_id=f"{fill.exec_id}-n{seed}", seq=fill.seq + 10**9 * (1 + seed)
        )
        for fill in rows
    ]


async def insert(connection: Connection, statement: str, rows: list[Fill], batch: int) -> tuple[float, float]:
    """Microseconds a fill, each batch a transaction, and the server's CPU of it."""
    parts = [batch_of(rows[at : at + batch]) for at in range(0, len(rows), batch)]
    started, before = time.perf_counter(), cpu(connection)
    for part in parts:
        await connection.fetchval(statement, part)
    return (time.perf_counter() - started) / len(rows) * 1e6, (cpu(connection) - before) / len(rows) * 1e6


async def compare_inserts(
    settings: DatabaseSettings, rounds: int, size: int
) -> dict[int, tuple[tuple[float, float], tuple[float, float]]]:
    """Batch size to (bare, with books), each (time, server's CPU) in microseconds a fill; medians of alternating rounds."""
    connection = await connect(settings, "bench")
    await connection.execute(
        "SET maintenance_work_mem = '1GB'; CREATE TABLE trading.bare (LIKE trading.fills INCLUDING DEFAULTS); "
        "INSERT INTO trading.bare SELECT * FROM trading.fills; "
        "ALTER TABLE trading.bare ADD PRIMARY KEY (account_id, category, symbol, exec_id)",
        timeout=3600,
    )
    await connection.execute("VACUUM ANALYZE trading.bare", timeout=3600)
    await connection.execute("CHECKPOINT", timeout=3600)
    accounts = {
        row["bot_id"]: row["account_id"]
        for row in await connection.fetch("SELECT bot_id, account_id FROM trading.accounts")
    }
    a_day = await connection.fetchval("SELECT count(*) FROM trading.fills") / DAYS
    result: dict[int, tuple[tuple[float, float], tuple[float, float]]] = {}
    turn = 0
    for batch in (100, 1_000):
        bare: list[tuple[float, float]] = []
        full: list[tuple[float, float]] = []
        for _ in range(rounds):
            rows = next_fills(accounts, turn, size, a_day)
            turn += 1
            pairs = [(bare, BARE), (full, INSERT_FILLS)]
            for times, statement in pairs if turn % 2 else reversed(pairs):
                times.append(await insert(connection, statement, rows, batch))
        result[batch] = _medians(bare), _medians(full)
    await connection.close()
    return result


def _medians(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(first for first, _ in pairs), statistics.median(second for _, second in pairs)


async def late_fills(settings: DatabaseSettings) -> list[tuple[int, float, float]]:
    """(fills recomputed, milliseconds, the server's CPU) of a fill that arrives late and shifts the position of all that follow."""
    connection = await connect(settings, "bench")
    account = await connection.fetchval("SELECT trading.register_account('testnet', 'late', 'shortseller_001')")
    found = []
    for number, depth in enumerate((1_000, 1_000, 1_000, 5_000, 5_000, 15_000)):
        symbol = f"LATE{number}USDT"
        raws = list(raw_fills(number, 20_000, 9_500_000, symbol))
        rows = [as_fill(raw, account, "shortseller_001", symbol) for raw in raws]
        place = max(at for at in range(len(rows) - depth) if raws[at].exec_type == "Trade")
        late = rows.pop(place)
        await connection.fetch(INSERT_FILLS, batch_of(rows))
        flat = await connection.fetchval(
            "SELECT max(closed_at) FROM trading.round_trips WHERE symbol = $1 AND closed_at < $2 AND NOT reversed",
            symbol,
            late.exec_time,
        )
        walked = sum(flat is None or fill.exec_time > flat for fill in rows) + 1
        before = cpu(connection)
        seconds = await timed(lambda one=late: connection.fetch(INSERT_FILLS, batch_of([one])))  # type: ignore[misc]
        found.append((walked, seconds * 1000, (cpu(connection) - before) * 1000))
    await connection.close()
    return found


async def bench(server: EmbeddedPostgres, seed: int, count: int) -> bool:
    """Run it all and print the table; False when verify found a difference."""
    owner = await connect(server.settings().model_copy(update={"postgres_db": "postgres"}), "bench")
    await owner.execute("CREATE DATABASE bench_small")
    version = await owner.fetchval("SHOW server_version")
    await owner.close()
    small = server.settings().model_copy(update={"postgres_db": "bench_small"})
    large = server.settings()
    await load(small, seed, SMALL)
    await load(large, seed, count)
    few, many = await ask(small, seed), await ask(large, seed)
    for name, (slow, work) in many.items():
        say(f"{name}: {slow:.1f} ms, {work:.1f} ms of CPU; {few[name][0]:.1f} ms, {few[name][1]:.1f} ms at {SMALL:,}")
    found = ledger.Findings()

    async def verify() -> None:
        nonlocal found
        found = await ledger.verify(large, lambda fills: None)

    seconds = await timed(verify)
    say(f"verified in {seconds:.0f} s, {len(found.differences)} differences")
    inserts = await compare_inserts(large, rounds=5, size=10_000)
    say(f"inserts: {inserts}")
    late = await late_fills(large)

    table = Table(title=f"History: {count:,} fills, seed {seed}, PostgreSQL {version}, {os.cpu_count()} cores")
    table.add_column("what")
    for column in ("measured", "server's CPU", "beside", "aim"):
        table.add_column(column, justify="right")
    for name in many:
        (slow, work), (small_slow, small_work) = many[name], few[name]
        beside = f"{small_slow:.1f} ms, {small_work:.1f} ms CPU at {SMALL:,}: {slow / small_slow:.2f}x, {work / small_work:.2f}x"
        whole = name.startswith("whole")
        table.add_row(
            f"{name}, {'median' if whole else 'p95'}",
            f"{slow:.1f} ms",
            f"{work:.1f} ms",
            beside,
            "200 ms" if whole else "20 ms, 2x",
        )
    for batch, ((bare, bare_cpu), (full, full_cpu)) in inserts.items():
        beside = f"bare {bare:.1f}, {bare_cpu:.1f} CPU: {full / bare:.2f}x"
        table.add_row(f"insert, batches of {batch:,}", f"{full:.1f} us/fill", f"{full_cpu:.1f} us", beside, "1.8x")
    table.add_row("alpha db verify", f"{seconds:.0f} s", "", f"{len(found.differences)} differences", "60 s, 0")
    for walked, milliseconds, work in late:
        table.add_row(
            "a late fill",
            f"{milliseconds:.0f} ms",
            f"{work:.0f} ms",
            f"{walked:,} recomputed: {milliseconds / walked * 1000:.1f} ms/1,000",
            "50 ms/1,000",
        )
    Console(width=150).print(table)
    return not found.differences


def main() -> int:
    """Entry point; 1 when the books differ from the fills."""
    parser = argparse.ArgumentParser(description="What the history costs.")
    parser.add_argument("--fills", type=int, default=10_000_000, help="how many fills")
    parser.add_argument("--seed", type=int, default=7)
    words = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="alpha-bench-"))
    server = EmbeddedPostgres(folder / "postgres", "bench")
    try:
        server.start()
        return 0 if asyncio.run(bench(server, words.seed, words.fills)) else 1
    except asyncpg.DiskFullError:
        say("The disk is full. Make room, or ask for fewer fills with --fills.")
        return 1
    finally:
        server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
