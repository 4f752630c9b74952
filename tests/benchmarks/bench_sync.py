"""How fast the trade sync reads two years of closed trades, and how fast it compares the books.

    python -m tests.benchmarks.bench_sync [--trades 60000] [--days 730] [--seed 1]

A seeded generator lets three bots trade for two years on the simulated exchange; then the back-fill reads all of it at
Bybit's rate limits, through the real request budget in a real Redis, into a real PostgreSQL. The floor is the budget
itself: 60 requests a second for all of ours together.
"""

import argparse
import asyncio
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import psutil

from alpha.bybit.rate_limiter import IP_PER_SECOND, Priority, RateLimiter, share
from alpha.config.services import DatabaseSettings
from alpha.live_state.connect import RedisClients
from alpha.model.timestamp import at
from alpha.postgres.database import Connection as Database
from alpha.postgres.database import connect
from alpha.postgres.migrate import migrate, register_bots, set_passwords
from alpha.registry import load_registry
from demo.postgres import EmbeddedPostgres
from demo.redis import EmbeddedRedis
from exchange_simulator.app import App
from exchange_simulator.exchange import Exchange, Setup
from exchange_simulator.keys import parse_account
from exchange_simulator.market import catalogue
from exchange_simulator.market.replay import ReplayMarket
from tests.support.sync_world import BOTS, KEYS, World, as_sync, at_rest, open_store, store_fills
from trade_sync_service.domain.coverage import Interval
from trade_sync_service.reconciliation import Reconciliation
from trade_sync_service.settings import SyncSettings

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
START_MS = 1_672_531_200_000  # 2023-01-01
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
PASSWORD = "bench"
ACTS_A_TRADE = 1.9
#: As the service reads.
WINDOWS_AT_ONCE = SyncSettings.model_fields["sync_windows_at_once"].default
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    value: str
    aim: str
    floor: str


def history(seed: int, days: int, trades: int) -> Exchange:
    """An exchange on which the bots have closed at least `trades` positions within `days`."""
    keys = [parse_account(text.rsplit(":", 1)[0] + ":100000000") for text in KEYS.values()]
    exchange = Exchange(_market(seed, days), keys, Setup(seed=seed, start_ms=START_MS, step_clock=True))
    made = at_rest(exchange)
    # about half of what the generator does closes something
    made.trade(seed, days=days - 2, per_day=trades * ACTS_A_TRADE / len(BOTS) / (days - 2))
    closed = sum(len(made.closed(bot)) for bot in BOTS)
    if closed < trades:
        raise SystemExit(f"The generator closed {closed:,} positions only; ask for fewer, or raise ACTS_A_TRADE.")
    return exchange


@contextmanager
def served(exchange: Exchange) -> Iterator[World]:
    """The exchange listening in a process of its own, at Bybit's rate limits; this process keeps its ledger."""
    context = get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(exchange, theirs), daemon=True)
    process.start()
    made = at_rest(exchange)
    made.app.port = ours.recv()
    try:
        yield made
    finally:
        process.terminate()
        process.join()


def _serve(exchange: Exchange, port: Connection) -> None:
    # a connection to SQLite does not survive a fork
    file = exchange.storage._db.execute("PRAGMA database_list").fetchone()[2]
    exchange.storage._db = sqlite3.connect(file, isolation_level=None)

    async def serve() -> None:
        app = App(exchange)
        await app.start("127.0.0.1", 0)
        port.send(app.port)
        await app.wait()

    asyncio.run(serve())


def _market(seed: int, days: int) -> ReplayMarket:
    rng = np.random.default_rng(seed)
    count = days * 24
    times = START_MS + HOUR_MS * np.arange(count)
    rows, instruments = {}, {}
    for symbol in SYMBOLS:
        closes = 500_000 + np.cumsum(rng.integers(-300, 301, count))
        opens = np.concatenate(([500_000], closes[:-1]))
        highs = np.maximum(opens, closes) + rng.integers(0, 200, count)
        lows = np.minimum(opens, closes) - rng.integers(0, 200, count)
        rows[symbol] = np.column_stack((times, opens, highs, lows, closes, rng.integers(1, 10_000, count)))
        instruments[symbol] = catalogue.instrument(symbol, price=Decimal(50_000), launch_ms=0, tick=Decimal("0.1"))
    return ReplayMarket(rows, instruments, Decimal("0.0001"))


async def backfill(made: World, settings: DatabaseSettings, days: int) -> tuple[float, int, int]:
    """(seconds, calls sent, closed-P&L rows fetched) of reading everything for all bots at once."""
    sent = rows = 0
    began, cpu = time.perf_counter(), time.process_time()

    async def one(bot: str) -> None:
        nonlocal sent, rows
        store = await open_store(settings, made, bot)
        async with made.gateway(bot) as gateway:
            result = await made.sync(gateway, store, windows_at_once=WINDOWS_AT_ONCE).run(history_days=days)
            sent += gateway.counts.sent
            rows += result.rows_read
        await store.close()

    await asyncio.gather(*(one(bot) for bot in BOTS))
    took = time.perf_counter() - began
    counts = made.throttle.counts
    say(
        f"{(time.process_time() - cpu) / sent * 1_000:.1f} ms of CPU a call; {counts.waited} of {counts.granted} calls waited "
        f"for room, {counts.waited_ms / max(1, counts.waited):.0f} ms each; {counts.local} were counted without Redis"
    )
    return took, sent, rows


async def reconcile(made: World, settings: DatabaseSettings) -> tuple[float, int, int, int]:
    """(seconds, calls sent, executions compared, differences) of comparing all books over everything."""
    sent = compared = differences = 0
    began = time.perf_counter()

    async def one(bot: str) -> None:
        nonlocal sent, compared, differences
        store = await open_store(settings, made, bot)
        async with made.gateway(bot) as gateway:
            span = Interval(START_MS - DAY_MS, made.exchange.now_ms + 1)
            report = await Reconciliation(gateway, store, grace_s=0, lag_ms=0).run(span)
            sent += gateway.counts.sent
            compared += report.fills
            differences += len(report.differences)
        await store.close()

    await asyncio.gather(*(one(bot) for bot in BOTS))
    return time.perf_counter() - began, sent, compared, differences


async def equal(owner: Database, made: World) -> bool:
    """True when the table holds every closed trade of the exchange exactly once."""
    rows = await owner.fetch(
        "SELECT bot_id, order_id, updated_at, closed_size, exit_value, closed_pnl FROM trading.completed_trades"
    )
    theirs = Counter(
        (bot, row.order_id, at(row.updated_ms), row.closed_size, row.exit_value, row.closed_pnl)
        for bot in BOTS
        for row in made.closed(bot)
    )
    return Counter(tuple(row) for row in rows) == theirs


async def bench(folder: Path, made: World, days: int) -> list[Row]:
    """Everything, on servers of its own in `folder`."""
    async with AsyncExitStack() as stack:
        postgres, redis = EmbeddedPostgres(folder / "postgres", PASSWORD), EmbeddedRedis(folder / "redis", PASSWORD)
        postgres.start()
        stack.callback(postgres.stop, "immediate")
        redis.start()
        stack.callback(redis.stop)
        links = RedisClients(redis.settings())
        stack.push_async_callback(links.close)
        owner = await connect(postgres.settings(), "bench")
        stack.push_async_callback(owner.close)
        await migrate(owner)
        await register_bots(owner, load_registry(ROOT / "bots.toml"))
        await set_passwords(owner, {"alpha_sync": PASSWORD})
        settings = as_sync(postgres.settings(), PASSWORD)
        made.throttle = RateLimiter(links.shared)
        closed = sum(len(made.closed(bot)) for bot in BOTS)
        say(f"{closed:,} closed trades; storing their fills ...")
        for bot in BOTS:
            await store_fills(owner, made, bot)
        say("Reading them ...")
        took, sent, rows = await backfill(made, settings, days)
        complete = await equal(owner, made)
        say("Comparing the books ...")
        compare_s, compare_sent, compared, differences = await reconcile(made, settings)
        memory = psutil.Process().memory_info().rss / 2**20
    budget = f"{IP_PER_SECOND} a second; {share(IP_PER_SECOND, Priority.BACKFILL)} for a back-fill"
    return [
        Row("back-fill: calls a second", f"{sent / took:.1f}", "54", budget),
        Row("back-fill: share of the budget", f"{sent / took / IP_PER_SECOND:.0%}", "90 %", f"{sent:,} calls"),
        Row("back-fill: seconds", f"{took:.0f}", "", f"{sent / IP_PER_SECOND:.0f} at the whole budget"),
        Row("closed-P&L rows fetched", f"{rows:,}", f"{closed:,}", "each once" if rows == closed else "NOT each once"),
        Row("table equals the exchange", "yes" if complete else "NO", "yes", ""),
        Row("reconciliation: differences", f"{differences}", "0", f"{compared:,} executions compared"),
        Row("reconciliation: calls a second", f"{compare_sent / compare_s:.1f}", "", f"{compare_s:.0f} seconds"),
        Row("memory, with the ledger to compare with", f"{memory:,.0f} MB", "", ""),
    ]


def say(text: str) -> None:
    """Tell how far it has come."""
    sys.stderr.write(f"{text}\n")


def main() -> int:
    """Entry point; 1 when a row was lost or doubled, or the books differ."""
    parser = argparse.ArgumentParser(description="What the trade sync costs.")
    parser.add_argument("--trades", type=int, default=60_000, help="closed trades of all bots together, at least")
    parser.add_argument("--days", type=int, default=730, help="the history's length")
    parser.add_argument("--seed", type=int, default=1)
    words = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="alpha-bench-sync-"))
    try:
        say(f"Trading {words.days} days on the simulated exchange ...")
        exchange = history(words.seed, words.days, words.trades)
        with served(exchange) as made:
            rows = asyncio.run(bench(folder, made, words.days))
        exchange.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    width = max(len(row.name) for row in rows)
    sys.stdout.write(f"{'trade sync':{width}}  {'measured':>10}  {'aim':>8}  beside it\n")
    for row in rows:
        sys.stdout.write(f"{row.name:{width}}  {row.value:>10}  {row.aim:>8}  {row.floor}\n")
    good = rows[3].floor == "each once" and rows[4].value == "yes" and rows[5].value == "0"
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
