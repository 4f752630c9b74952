"""How fast the dashboard answers with sixty bots, and what its live updates cost: `make bench ARGS=dashboard`.

    python -m tests.benchmarks.bench_dashboard --fills 10000000
    python -m tests.benchmarks.bench_dashboard --fills 10000000 --keep /var/tmp/bench  # builds once, asks each time

The dashboard is its own process, asked over HTTP. Fills are made from a seed and end now; live state is a Redis of its own, in
which all prices and wallets change every second. The floors of the same run: `SELECT 1`, and an answer that asks nobody.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from alpha.clock import wall_ms
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.live_state.read import BarIndicators, Candle, encode_candle
from alpha.postgres import ledger
from alpha.postgres.database import Connection, connect
from alpha.postgres.fills import Fill
from alpha.postgres.migrate import migrate, register_bots
from alpha.registry import Registry, load_registry
from demo.ports import free_port
from demo.postgres import EmbeddedPostgres
from demo.redis import EmbeddedRedis
from tests.benchmarks.bench_history import ROOT, _lines
from tests.support.fill_generator import BOTS, DAYS, streams
from tests.support.world import Process, until

BOTS_IN_ALL, VIEWERS, ROUNDS = 60, 10, 7
CANDLES, BAR_MS = 2_000, 300_000
TOKEN = "a-token-of-the-benchmark"
PASSWORD = "bench"
#: Names a trade; written when the database is complete.
BUILT = "built"
AIM_MS, AIM_PCT = 300, 2.0
PAGES = (
    ("first page, 30 days", "/?range=30d"),
    ("first page, all", "/?range=all"),
    ("chart of equity, 30 days", "/data/equity?range=30d"),
    ("chart of equity, all", "/data/equity?range=all"),
    ("chart of a symbol, 1 day", "/data/candles/BTCUSDT?interval=5&range=1d"),
    ("chart of a symbol, 30 days", "/data/candles/BTCUSDT?interval=5&range=30d"),
    ("chart of a symbol, all, hours", "/data/candles/BTCUSDT?interval=60&range=all"),
    ("page of a chart", "/chart/BTCUSDT"),
    ("figures, 30 days", "/figures?range=30d"),
    ("figures, all", "/figures?range=all"),
    ("trades", "/trades?range=30d"),
    ("trades, all, page 100", "/trades?range=all&page=100"),
    ("trades, all, words", "/trades?range=all&search=take"),
    ("fills", "/fills?range=30d"),
    ("fills, all, one bot and symbol", "/fills?range=all&bot=b07&symbol=BTCUSDT"),
    ("a trade", "/trade/{trade}"),
    ("chart of a trade", "/data/trade/{trade}"),
    ("analytics, 30 days", "/analytics?range=30d"),
    ("performance, all", "/performance?range=all"),
    ("entries, 30 days", "/entries?range=30d"),
    ("daily", "/daily?range=30d"),
    ("exposure", "/exposure"),
    ("risk", "/risk"),
    ("system", "/system"),
)
say = Console(stderr=True).print


@dataclass(frozen=True, slots=True)
class Cost:
    """Processor time in per cent of a core: of the dashboard, PostgreSQL and Redis."""

    dashboard: float
    postgres: float
    redis: float


def registry_of(folder: Path) -> tuple[Path, Registry]:
    """Sixty bots of three strategies, in a file of their own."""
    models = tomllib.loads((ROOT / "bots.toml").read_text())["bot"]
    rows = []
    for number in range(BOTS_IN_ALL):
        row = {**models[number % len(models)]}
        name = f"b{number:02d}"
        row |= {
            "id": f"bench_{number:03d}",
            "name": f"Bench {number}",
            "container": name,
            "prefix": f"BENCH{number:02d}",
        }
        row |= {
            "tag": f"b{chr(97 + number // 26)}{chr(97 + number % 26)}",
            "redis_db": number if number < 15 else number + 1,
        }
        rows.append("[[bot]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in row.items()))
    file = folder / "bots.toml"
    file.write_text("\n".join(rows))
    return file, load_registry(file)


async def load(connection: Connection, postgres: EmbeddedPostgres, registry: Registry, count: int) -> str:
    """Fill the database and return a trade's id: about `count` fills of all bots that end now, their books and equity."""
    await migrate(connection)
    await register_bots(connection, registry)
    accounts = [
        await connection.fetchval("SELECT trading.register_account('simulated', $1, $1)", bot.id)
        for bot in registry.bots
    ]
    names = list(BOTS)
    groups = BOTS_IN_ALL // len(names)
    await connection.execute(
        "SET maintenance_work_mem = '1GB'; SET work_mem = '256MB'; CREATE TEMP TABLE made (LIKE trading.fills); "
        "ALTER TABLE trading.fills DISABLE TRIGGER update_rollups"
    )
    started = time.perf_counter()
    for name, symbol, rows in streams(11, count // groups):
        source = _lines(rows, names.index(name), name, symbol)
        await connection.copy_to_table("made", columns=list(Fill.__struct_fields__), source=source, timeout=3600)
    kept = ", ".join(n for n in Fill.__struct_fields__ if n not in {"account_id", "bot_id", "exec_time"})
    # each symbol's fills end now, a few seconds apart from bot to bot: none of the ranges is empty
    await connection.execute(
        "CREATE TEMP TABLE ends AS SELECT account_id, symbol, max(exec_time) AS last FROM made GROUP BY 1, 2"
    )
    end = datetime.now(UTC) - timedelta(minutes=20)
    for number, (bot, account) in enumerate(zip(registry.bots, accounts, strict=True)):
        await connection.execute(
            f"INSERT INTO trading.fills ({kept}, account_id, bot_id, exec_time) SELECT {kept}, $1, $2, $3::timestamptz - (last - exec_time) "
            "FROM made JOIN ends USING (account_id, symbol) WHERE account_id = $4 ORDER BY exec_time",
            *(account, bot.id, end + timedelta(seconds=7 * number), number % len(names)),
            timeout=3600,
        )
    await connection.execute("ALTER TABLE trading.fills ENABLE TRIGGER update_rollups")
    await connection.execute("VACUUM ANALYZE trading.fills", timeout=3600)
    made = await connection.fetchval("SELECT count(*) FROM trading.fills")
    say(f"{made:,} fills of {BOTS_IN_ALL} bots made in {time.perf_counter() - started:.0f} s")
    started = time.perf_counter()
    await ledger.rebuild(postgres.settings(), lambda fills: None)
    # Triggers keep the days, a row at a time: made at once here.
    await connection.execute("ALTER TABLE trading.equity_snapshots DISABLE TRIGGER USER")
    for step, since, until_ in (("1 hour", f"{DAYS} days", "7 days"), ("1 minute", "7 days", "0 days")):
        await connection.execute(
            "INSERT INTO trading.equity_snapshots SELECT account_id, t, 10000 + 500 * sin(extract(epoch FROM t) / 900000 + account_id), "
            "10000, 9000, 0 FROM trading.accounts, "
            f"generate_series(now() - interval '{since}', now() - interval '{until_}', '{step}') AS t ON CONFLICT DO NOTHING",
            timeout=3600,
        )
    await connection.execute(
        "ALTER TABLE trading.equity_snapshots ENABLE TRIGGER USER; "
        "INSERT INTO trading.daily_equity (account_id, coin, day, first_at, last_at, first, last, high, low, fall, fall_share) "
        "SELECT account_id, coin, (taken_at AT TIME ZONE 'UTC')::date, min(taken_at), max(taken_at), min(equity), max(equity), "
        "max(equity), min(equity), 0, 0 FROM trading.equity_snapshots GROUP BY 1, 2, 3",
        timeout=3600,
    )
    await connection.execute("VACUUM ANALYZE", timeout=3600)
    points = await connection.fetchval("SELECT count(*) FROM trading.equity_snapshots")
    say(f"books and {points:,} points of equity in {time.perf_counter() - started:.0f} s")
    trade = await connection.fetchrow(
        "SELECT trade_id FROM trading.position_summaries WHERE bot_id = $1 ORDER BY closed_at DESC LIMIT 1",
        registry.bots[0].id,
    )
    assert trade is not None
    return str(trade["trade_id"])


class LiveState:
    """Two positions, an order and a wallet of every bot, candles of each symbol, all as the services write them."""

    def __init__(self, links: RedisClients, registry: Registry) -> None:
        self._links, self._registry = links, registry
        self._beat = 0
        names = [list(symbols) for _, symbols in BOTS.values()]
        self._symbols = {bot.id: names[number % len(names)] for number, bot in enumerate(registry.bots)}

    async def begin(self) -> None:
        """Write what stands."""
        now = wall_ms()
        for symbol in dict.fromkeys(symbol for symbols in self._symbols.values() for symbol in symbols):
            rows = []
            first = now // BAR_MS * BAR_MS - CANDLES * BAR_MS
            for n in range(CANDLES):
                price = 95_000 + (n * 37) % 900
                rows.append(
                    encode_candle(
                        Candle(first + n * BAR_MS, f"{price}", f"{price + 40}", f"{price - 40}", f"{price + 9}", "5")
                    )
                )
            await self._links.shared.rpush(keys.candles(symbol, "5"), *rows)
        for bot in self._registry.bots:
            redis, symbols = self._links.of(bot), self._symbols[bot.id]
            await redis.sadd(keys.symbols(bot.id), *symbols)
            await redis.sadd(keys.intervals(bot.id), "5")
            await redis.sadd(keys.positions(bot.id), *symbols[:2])
            values = {"ema_fast": 95_100.5, "ema_slow": 95_050.25, "rsi": 55.5}
            first = now // BAR_MS * BAR_MS - keys.INDICATORS_KEPT * BAR_MS
            bars = [BarIndicators(first + n * BAR_MS, BAR_MS, values) for n in range(keys.INDICATORS_KEPT)]
            lines = [
                json.dumps({"start_ms": b.start_ms, "interval_ms": b.interval_ms, "values": b.values}) for b in bars
            ]
            await redis.rpush(keys.indicators(bot.id, symbols[0]), *lines)
            order: dict[str, object] = {
                "orderId": "1",
                "symbol": symbols[0],
                "side": "Sell",
                "orderType": "Market",
                "qty": "0.1",
                "cumExecQty": "0",
            }
            order |= {
                "price": "0",
                "triggerPrice": "94000",
                "stopOrderType": "StopLoss",
                "reduceOnly": True,
                "createdTime": str(now),
            }
            await redis.hset(keys.orders(bot.id), "1", json.dumps(order))

    async def move(self) -> None:
        """A second's changes: every price, wallet, status and heartbeat."""
        self._beat += 1
        now = str(wall_ms())
        async with self._links.shared.pipeline() as pipe:
            for symbol in dict.fromkeys(symbol for symbols in self._symbols.values() for symbol in symbols):
                price = {"last": "95000", "mark": f"{95_000 + self._beat % 50}", "updated_at": now}
                pipe.hset(keys.market(symbol), mapping=price)
            await pipe.execute()
        for bot in self._registry.bots:
            async with self._links.of(bot).pipeline() as pipe:
                status = {"state": "synced", "synced_at": now, "checked_at": now, "account": "", "reason": ""}
                status |= {"alive_at": now, "writer": "bench", "beat": str(self._beat), "audit_age_ms": "500"}
                pipe.hset(keys.status(bot.id), mapping=status)
                beat = {
                    "alive_at": now,
                    "state": "running",
                    "waits_for": "the next bar",
                    "writer": "b",
                    "beat": str(self._beat),
                }
                pipe.hset(keys.heartbeat(bot.id), mapping=beat)
                equity = f"{10_000 + self._beat % 90}.5"
                wallet = {"coin": "USDT", "equity": equity, "wallet_balance": "10000", "available": "9000"}
                pipe.hset(keys.wallet(bot.id), mapping={**wallet, "unrealised_pnl": "1.5", "updated_at": now})
                for symbol in self._symbols[bot.id][:2]:
                    mark, seq = f"{95_000 + self._beat % 50}", str(self._beat)
                    position = {
                        "symbol": symbol,
                        "side": "Buy",
                        "size": "0.01",
                        "entry_price": "95000",
                        "mark_price": mark,
                    }
                    position |= {"unrealised_pnl": "0.5", "leverage": "10", "liq_price": "86000", "stop_loss": "94000"}
                    position |= {"take_profit": "98000", "opened_at": now, "updated_at": now, "seq": seq}
                    pipe.hset(keys.position(bot.id, symbol), mapping=position)
                await pipe.execute()

    async def keep_moving(self) -> None:
        """Change once a second."""
        while True:
            await self.move()
            await asyncio.sleep(1)


async def timed(client: httpx.AsyncClient, path: str) -> tuple[list[float], int]:
    """Milliseconds of each round, and the answer's bytes."""
    found, size = [], 0
    for _ in range(ROUNDS):
        started = time.perf_counter()
        answer = await client.get(path)
        found.append((time.perf_counter() - started) * 1000)
        assert answer.status_code == 200, (path, answer.status_code, answer.text[-500:])
        size = len(answer.content)
    return found, size


def processor(processes: Sequence[psutil.Process]) -> float:
    """Seconds of processor time so far, of these and their children."""
    total = 0.0
    for process in processes:
        for each in (process, *process.children(recursive=True)):
            try:
                times = each.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
    return total


async def live_cost(
    client: httpx.AsyncClient, viewers: int, seconds: float, servers: list[psutil.Process]
) -> tuple[Cost, int]:
    """What so many browsers cost for so long, and the events that each got."""
    events = 0
    opened = asyncio.Event()

    async def watch() -> None:
        nonlocal events
        async with client.stream("GET", "/events", timeout=None) as stream:
            async for line in stream.aiter_lines():
                opened.set()
                events += line.startswith("event:")

    watching = [asyncio.create_task(watch()) for _ in range(viewers)]
    try:
        if viewers:
            await asyncio.wait_for(opened.wait(), 30)
        await asyncio.sleep(3)
        events, before, began = 0, [processor([each]) for each in servers], time.monotonic()
        await asyncio.sleep(seconds)
        elapsed = time.monotonic() - began
        spent = [(processor([each]) - was) / elapsed * 100 for each, was in zip(servers, before, strict=True)]
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    return Cost(*spent), events // max(1, viewers)


async def bench(folder: Path, postgres: EmbeddedPostgres, redis: EmbeddedRedis, fills: int, seconds: float) -> int:
    """Load, ask, print; 1 when an aim is missed."""
    file, registry = registry_of(folder)
    connection = await connect(postgres.settings(), "bench")
    built = postgres.folder / BUILT
    if built.exists():
        await migrate(connection)
        trade = built.read_text()
    else:
        trade = await load(connection, postgres, registry, fills)
        built.write_text(trade)
    links = RedisClients(redis.settings())
    live = LiveState(links, registry)
    await live.begin()
    await live.move()
    moving = asyncio.create_task(live.keep_moving())
    port = free_port()
    process = Process(
        "dashboard",
        ["-m", "dashboard"],
        {**postgres.environment(), **redis.environment(), "ALPHA_BOTS_FILE": str(file), "DASHBOARD_TOKEN": TOKEN,
         "DASHBOARD_PORT": str(port), "LOG_FORMAT": "json"},
        folder,
        anew=True,
    )  # fmt: skip
    process.start()
    title = f"{fills:,} fills, {BOTS_IN_ALL} bots, median of {ROUNDS} rounds"
    table = Table("asked for", "ms, least", "ms, median", "KB", "", title=title)
    missed = 0
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:

            async def answers() -> bool:
                assert process.running, process.said()[-3000:]
                try:
                    return (await client.get("/", params={"token": TOKEN}, follow_redirects=True)).status_code == 200
                except httpx.TransportError:
                    return False

            await until(answers, 60, "the dashboard")
            floor = []
            for _ in range(ROUNDS):
                started = time.perf_counter()
                await connection.fetchval("SELECT 1")
                floor.append((time.perf_counter() - started) * 1000)
            table.add_row("floor: SELECT 1", f"{min(floor):.1f}", f"{statistics.median(floor):.1f}", "", "")
            script = (await client.get("/")).text.split('<script src="')[1].split('"')[0]
            for name, path in (("floor: a file", script), *PAGES):
                found, size = await timed(client, path.format(trade=trade))
                late = statistics.median(found) > AIM_MS
                missed += late
                table.add_row(
                    name, f"{min(found):.0f}", f"{statistics.median(found):.0f}", f"{size / 1000:.0f}", "over" * late
                )
            Console(width=110).print(table)
            servers = [psutil.Process(process.pid), *(psutil.Process(pid) for pid in (postgres.pid, redis.pid) if pid)]
            costs = Table(
                "browsers", "dashboard, % of a core", "PostgreSQL", "Redis", "events each", title="live updates"
            )
            for viewers in (0, 1, VIEWERS):
                cost, events = await live_cost(client, viewers, seconds, servers)
                costs.add_row(
                    str(viewers), f"{cost.dashboard:.2f}", f"{cost.postgres:.2f}", f"{cost.redis:.2f}", str(events)
                )
            missed += cost.dashboard > AIM_PCT
            Console(width=110).print(costs)
    finally:
        moving.cancel()
        process.stop()
        await links.close()
        await connection.close()
    return 1 if missed else 0


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="How fast the dashboard answers, and what its live updates cost.")
    parser.add_argument("--fills", type=int, default=1_000_000, help="how many fills")
    parser.add_argument("--seconds", type=float, default=20, help="how long live updates are watched")
    parser.add_argument(
        "--keep", type=Path, help="a folder that keeps the database: the next run does not build it again"
    )
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="alpha-bench-dashboard-"))
    folder.chmod(0o755)
    if asked.keep is not None:
        asked.keep.mkdir(parents=True, exist_ok=True)
    data = (asked.keep or folder) / f"postgres-{asked.fills}"
    if data.exists() and not (data / BUILT).exists():
        # a build that was interrupted
        shutil.rmtree(data)
    postgres, redis = EmbeddedPostgres(data, PASSWORD), EmbeddedRedis(folder / "redis", PASSWORD)
    try:
        postgres.start()
        redis.start()
        return asyncio.run(bench(folder, postgres, redis, asked.fills, asked.seconds))
    finally:
        redis.stop()
        postgres.stop("immediate" if asked.keep is None else "fast")
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
