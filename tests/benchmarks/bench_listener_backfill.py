"""How fast the listener reads a history: executions over REST beside what the shared request budget allows.

    python -m tests.benchmarks.bench_listener_backfill [--executions 100000] [--line-ms 60]

A separate process answers `execution/list` as the exchange pages it, each answer after `--line-ms`; gateway, throttle,
back-fill, PostgreSQL and Redis are the real ones. The floor is the budget itself: what one account may ask at the rank
of a back-fill, 100 rows an answer.
"""

import argparse
import multiprocessing
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
import uvloop
from aiohttp import web

from alpha.alert_batcher import AlertBatcher
from alpha.alerts import Alerts
from alpha.bybit.client import Gateway
from alpha.bybit.endpoints import EXECUTIONS
from alpha.bybit.hosts import simulated_hosts
from alpha.bybit.rate_limiter import Priority, RateLimiter, share
from alpha.bybit.session import Credentials
from alpha.errors import Retry
from alpha.live_state.connect import RedisClients
from alpha.model.account import Account, Environment
from alpha.postgres.database import connect, create_pool
from alpha.postgres.migrate import migrate, register_bots
from alpha.postgres.rejected import RejectedMessages
from alpha.registry import load_registry
from demo.ports import free_port
from demo.postgres import EmbeddedPostgres
from demo.redis import EmbeddedRedis
from tests.benchmarks.bench_listener import PASSWORD, ROOT, START_MS, execution
from tests.support.history import PAGE, History
from websocket_listener.account_state import AccountState, Mark
from websocket_listener.backfill import Backfill
from websocket_listener.dispatcher import Dispatcher
from websocket_listener.postgres_writer import PostgresWriter
from websocket_listener.redis_writer import RedisWriter
from websocket_listener.status import BotStatus
from websocket_listener.tests.rows import Held, nobody_else


def exchange(port: int, executions: int, line_ms: float) -> None:
    """The process of the exchange."""
    history = History(execution, executions, START_MS, line_ms=line_ms)
    web.run_app(history.application(), host="127.0.0.1", port=port, print=None)


async def run(executions: int, line_ms: float) -> tuple[float, float, int]:
    """(rows a second, rows a second that the budget allows, memory in bytes)."""
    folder = Path(tempfile.mkdtemp(prefix="alpha-bench-"))
    postgres, redis = EmbeddedPostgres(folder / "postgres", PASSWORD), EmbeddedRedis(folder / "redis", PASSWORD)
    postgres.start()
    redis.start()
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(
        target=exchange, args=(port, executions, line_ms), daemon=True
    )
    process.start()
    links = RedisClients(redis.settings())
    try:
        connection = await connect(postgres.settings(), "bench")
        await migrate(connection)
        await register_bots(connection, load_registry(ROOT / "bots.toml"))
        bot = load_registry(ROOT / "bots.toml").bots[0]
        number = await connection.fetchval("SELECT trading.register_account('simulated', '4711', $1)", bot.id)
        pool = await create_pool(postgres.settings(), "bench", max_size=4)
        throttle = RateLimiter(links.shared)
        hosts = simulated_hosts(f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}")
        async with Gateway(hosts, Credentials("key", "secret"), throttle, account=bot.id) as gateway:
            rejected = RejectedMessages(pool, AlertBatcher(Alerts(links.shared, "bench")))
            live = RedisWriter(links.writer(bot.redis_db), bot.id, Held(), rebuild=list, restored=lambda: None)

            async def refused(row: object, fault: str) -> None:
                raise AssertionError(fault)

            database = PostgresWriter(pool, 1_000, dropped=lambda _: None, refused=refused)
            marks: dict[str, Mark] = {}
            feed = Dispatcher(
                Account(number, bot.id, Environment.SIMULATED, "4711"),
                AccountState(bot.id, live.put, marks),
                live,
                database,
                BotStatus(live.put),
                rejected,
                gateway.business,
                lambda what: None,
            )
            backfill = Backfill(feed, gateway, pool, rejected, history_days=7, only_holder=nobody_else)
            for _ in range(10):
                with suppress(Retry):
                    await gateway.server_time_ms()
                    break
            began = time.perf_counter()
            read = await backfill.read(0)
            seconds = time.perf_counter() - began
            if read.inserted != executions:
                raise AssertionError(f"{read.inserted} executions were stored, not {executions}")
        await pool.close()
        await connection.close()
        allowed = share(EXECUTIONS.per_second or 0, Priority.BACKFILL) * PAGE
        return executions / seconds, float(allowed), psutil.Process().memory_info().rss
    finally:
        process.kill()
        await links.close()
        redis.kill()
        postgres.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Print one line; exit code 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=100_000)
    parser.add_argument("--line-ms", type=float, default=60.0)
    chosen = parser.parse_args()
    rate, allowed, memory = uvloop.run(run(chosen.executions, chosen.line_ms))
    print(
        f"back-fill of {chosen.executions:,} executions: {rate:,.0f} rows/s, the budget allows {allowed:,.0f}: "
        f"{rate / allowed:.0%} (aim 90 %); {memory // 1024 // 1024} MB"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
