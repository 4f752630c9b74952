"""How fast the listener is, each figure beside a floor measured in the same run.

    python -m tests.benchmarks.bench_listener [--fills 60000] [--seconds 10] [--part latencies]

A separate process pushes frames of the private stream over a local WebSocket; connection, feed and both writers are the
listener's own; PostgreSQL (with fsync) and Redis are real. Floors: a bare `INSERT .. SELECT unnest` in batches of 1,000
into an unadorned copy of the table; a bare one-row commit and a bare Redis round trip at the pace of the fills.
"""

import argparse
import asyncio
import gc
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from decimal import Decimal
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import psutil
import uvloop
from msgspec import structs
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server
from rich.console import Console
from rich.table import Table

from alpha.alert_batcher import AlertBatcher
from alpha.alerts import Alerts
from alpha.bybit.connect_budget import ConnectBudget
from alpha.bybit.connection import Handlers, Timing
from alpha.bybit.messages import decode
from alpha.bybit.stream import Connecting, Stream, StreamAccount, Watch
from alpha.clock import BusinessClock, wall_ms
from alpha.live_state.connect import RedisClients
from alpha.live_state.read import read_status
from alpha.model.account import Account, Environment
from alpha.model.timestamp import at
from alpha.postgres.database import connect, create_pool
from alpha.postgres.fills import Fill
from alpha.postgres.migrate import migrate, register_bots
from alpha.postgres.rejected import RejectedMessages
from alpha.registry import load_registry
from demo.ports import free_port
from demo.postgres import EmbeddedPostgres
from demo.redis import EmbeddedRedis
from tests.benchmarks.listener_latency import Floor, floor_of, measure
from tests.support.world import BOTS, Process, Simulator, Trader, until
from websocket_listener.account_state import AccountState, Mark
from websocket_listener.app import spare_collector
from websocket_listener.dispatcher import TOPICS, Dispatcher
from websocket_listener.postgres_writer import PostgresWriter
from websocket_listener.redis_writer import RedisWriter
from websocket_listener.status import BotStatus
from websocket_listener.tests.rows import Held

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "password-of-the-benchmark"
START_MS = 1_735_689_600_000
BUFFER_ROWS = 50_000
#: A host has good and bad moments: what is compared is measured by turns.
ROUNDS = 5
PARTS = ("all", "rates", "latencies", "bots", "beside")
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
_encode = msgspec.json.Encoder().encode
say = Console(stderr=True).print


# -- what the exchange pushes --------------------------------------------------------------------------------------


def execution(n: int) -> dict[str, object]:
    """The n-th execution: entries and exits to and fro in three symbols."""
    return {
        "category": "linear", "symbol": SYMBOLS[n % 3], "closedSize": "0" if n // 3 % 2 == 0 else "0.5",
        "execFee": "10.2025", "execId": f"{n:08x}-0000-4000-8000-{n:012x}", "execPrice": "37100.1", "execQty": "0.5",
        "execType": "Trade", "execValue": "18550.05", "feeRate": "0.00055", "feeCurrency": "USDT", "tradeIv": "",
        "markIv": "", "blockTradeId": "", "markPrice": "37101.5", "indexPrice": "", "underlyingPrice": "",
        "leavesQty": "0", "orderId": f"{n:08x}-1111-4000-8000-{n:012x}", "orderLinkId": "ss-en-0123456789abcdefghijklmn",
        "orderPrice": "35245.0", "orderQty": "0.5", "orderType": "Market", "stopOrderType": "UNKNOWN",
        "side": "Buy" if n // 3 % 2 == 0 else "Sell", "execTime": str(START_MS + n), "isLeverage": "0",
        "isMaker": False, "seq": 1000 + n, "marketUnit": "", "execPnl": "0", "createType": "CreateByUser",
        "extraFees": [],
    }  # fmt: skip


def order(n: int) -> dict[str, object]:
    """The filled order of the n-th execution."""
    fill = execution(n)
    return {
        "category": "linear", "symbol": fill["symbol"], "orderId": fill["orderId"], "side": fill["side"],
        "orderLinkId": fill["orderLinkId"], "parentOrderLinkId": "", "orderType": "Market", "cancelType": "UNKNOWN",
        "stopOrderType": "", "orderStatus": "Filled", "updatedTime": fill["execTime"], "takeProfit": "", "stopLoss": "",
        "tpslMode": "", "positionIdx": 0, "price": "35245.0", "qty": "0.5", "cumExecQty": "0.5", "leavesQty": "0",
        "cumExecValue": "18550.05", "avgPrice": "37100.1", "timeInForce": "IOC", "triggerPrice": "", "triggerBy": "",
        "reduceOnly": False, "closeOnTrigger": False, "createdTime": fill["execTime"], "rejectReason": "EC_NoError",
        "createType": "CreateByUser", "triggerDirection": 0, "cumExecFee": "10.2025", "smpType": "None", "smpGroup": 0,
    }  # fmt: skip


def position(n: int) -> dict[str, object]:
    """The position after the n-th execution."""
    held = n // 3 % 2 == 0
    return {
        "category": "linear", "symbol": SYMBOLS[n % 3], "side": "Buy" if held else "", "size": "0.5" if held else "0",
        "positionIdx": 0, "positionValue": "18550.05" if held else "", "riskId": 1, "riskLimitValue": "2000000",
        "entryPrice": "37100.1" if held else "0", "leverage": "10", "breakEvenPrice": "", "autoAddMargin": 0,
        "positionIM": "", "positionMM": "", "markPrice": "37101.5", "liqPrice": "", "takeProfit": "0", "stopLoss": "0",
        "trailingStop": "0", "unrealisedPnl": "0.7", "curRealisedPnl": "0", "cumRealisedPnl": "0",
        "createdTime": str(START_MS), "updatedTime": str(START_MS + n), "tpslMode": "Full", "bustPrice": "",
        "positionStatus": "Normal", "adlRankIndicator": 2, "isReduceOnly": False, "seq": 1000 + n,
    }  # fmt: skip


def frame(topic: str, rows: list[dict[str, object]], n: int) -> str:
    """One frame of the private stream."""
    return _encode({"id": f"f{n}", "topic": topic, "creationTime": START_MS + n, "data": rows}).decode()


def frames_of(begin: int, fills: int, per_frame: int, *, mixed: bool) -> list[str]:
    """Frames with executions only, or an execution, an order and a position frame for each fill."""
    if not mixed:
        return [
            frame("execution", [execution(n) for n in range(first, min(first + per_frame, begin + fills))], first)
            for first in range(begin, begin + fills, per_frame)
        ]
    return [
        text
        for n in range(begin, begin + fills)
        for text in (frame("execution", [execution(n)], n), frame("order", [order(n)], n), frame("position", [position(n)], n))
    ]  # fmt: skip


class _Exchange(WSListener):
    """Confirms everything; `push` is started when somebody has connected."""

    def __init__(self, push: Callable[[WSTransport], Coroutine[Any, Any, None]]) -> None:
        self._push = push
        self._pushing: asyncio.Task[None] | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Somebody listens."""
        self._pushing = asyncio.get_running_loop().create_task(self._push(transport))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Answer a request."""
        if frame.msg_type != WSMsgType.TEXT:
            return
        message = msgspec.json.decode(frame.get_payload_as_bytes())
        if message["op"] == "ping":
            answer: dict[str, object] = {"req_id": message["req_id"], "op": "pong", "args": ["1"]}
        else:
            answer = {"success": True, "ret_msg": "", "op": message["op"], "req_id": message["req_id"]}
        transport.send(WSMsgType.TEXT, _encode(answer))


def pusher(port: int, pipe: Pipe) -> None:
    """The process of the exchange: confirms everything, then pushes what it is told to, evenly or as fast as it can.

    Its frames are written in C: on two cores its own cost would otherwise be measured as the listener's.
    """

    async def push(transport: WSTransport) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not await loop.run_in_executor(None, pipe.poll, 0.1):
                continue
            begin, fills, per_frame, mixed, rate = pipe.recv()
            frames = [text.encode() for text in frames_of(begin, fills, per_frame, mixed=mixed)]
            pipe.send("ready")
            pipe.recv()
            began = time.perf_counter()
            each = 3 if mixed else 1
            for number in range(0, len(frames), each):
                if rate:
                    due = began + number / each / rate
                    while (left := due - time.perf_counter()) > 0:
                        await asyncio.sleep(left if left < 0.002 else left - 0.001)
                for text in frames[number : number + each]:
                    transport.send(WSMsgType.TEXT, text)
                while transport.underlying_transport.get_write_buffer_size() > 256 * 1024:
                    await asyncio.sleep(0.001)

    async def main() -> None:
        server = await ws_create_server(lambda request: _Exchange(push), "127.0.0.1", port)
        await server.serve_forever()

    uvloop.run(main())


# -- the listener's own parts --------------------------------------------------------------------------------------


@dataclass
class Bench:
    """One account's listening, without REST."""

    feed: Dispatcher
    live: RedisWriter
    database: PostgresWriter
    redis: Any
    bot: str
    arrivals: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    what: str
    value: str
    floor: str
    ratio: str
    aim: str
    good: bool


async def open_bench(pool: Any, links: RedisClients, port: int, tasks: asyncio.TaskGroup) -> Bench:
    """Wire one bot as the listener does, connected to the pusher."""
    bot = load_registry(ROOT / "bots.toml").bots[0]
    number = await pool.fetchval("SELECT trading.register_account('simulated', '4711', $1)", bot.id)
    redis = links.of(bot)
    rejected = RejectedMessages(pool, AlertBatcher(Alerts(links.shared, "bench")))

    async def refused(row: object, fault: str) -> None:
        raise AssertionError(fault)

    database = PostgresWriter(pool, 1_000_000, dropped=lambda _: None, refused=refused)
    marks: dict[str, Mark] = {}
    live = RedisWriter(links.writer(bot.redis_db), bot.id, Held(), rebuild=list, restored=lambda: None)
    book = AccountState(bot.id, live.put, marks)
    account = Account(number, bot.id, Environment.SIMULATED, "4711")
    feed = Dispatcher(account, book, live, database, BotStatus(live.put), rejected, BusinessClock(), lambda what: None)
    bench = Bench(feed, live, database, redis, bot.id)
    up = asyncio.Event()

    def data(envelope: Any, text: str | bytes) -> None:
        bench.arrivals.append(time.clock_gettime_ns(time.CLOCK_MONOTONIC))
        feed.data(envelope, text)

    stream = Stream(
        "bench",
        f"ws://127.0.0.1:{port}",
        Handlers(data, feed.on_malformed),
        Watch(up.set, lambda why: None, print),
        topics=TOPICS,
        connecting=Connecting(timing=Timing(), budget=ConnectBudget()),
        account=StreamAccount(login=lambda: ["key", 1, "signature"]),
    )
    for job in (live.run(), database.run(), rejected.run(), stream.run()):
        tasks.create_task(job)
    # on a loaded machine the pusher's process takes its time
    await asyncio.wait_for(up.wait(), 60)
    return bench


@dataclass(frozen=True)
class Processors:
    """The processor time that each of the three has used, in seconds; what they need does not depend on who else runs."""

    postgres: psutil.Process
    redis: psutil.Process

    def used(self) -> tuple[float, float, float]:
        """(this process, PostgreSQL, Redis) until now."""
        mine = time.process_time()
        servers = []
        for parent in (self.postgres, self.redis):
            spent = 0.0
            for process in (parent, *parent.children()):
                try:
                    spent += sum(process.cpu_times()[:2])
                except psutil.NoSuchProcess:
                    continue
            servers.append(spent)
        return mine, servers[0], servers[1]

    def since(self, before: tuple[float, float, float], fills: int) -> str:
        """Microseconds of each for one fill, as text."""
        ours, postgres, redis = ((now - then) / fills * 1e6 for now, then in zip(self.used(), before, strict=True))
        return f"listener {ours:.0f}, PostgreSQL {postgres:.0f}, Redis {redis:.0f} us"


async def throughput(
    bench: Bench, pool: Any, pipe: Pipe, begin: int, fills: int, *, per_frame: int, mixed: bool
) -> float:
    """Fills a second from the first frame in to everything committed and visible in Redis."""
    pipe.send((begin, fills, per_frame, mixed, 0.0))
    await asyncio.to_thread(pipe.recv)
    bench.arrivals.clear()
    before = bench.database.counts.committed
    gc.collect()
    pipe.send("go")
    while not bench.arrivals:
        await asyncio.sleep(0)
    began = bench.arrivals[0]
    while bench.database.counts.committed - before < fills:
        await asyncio.sleep(0.005)
    await bench.live.flushed()
    seconds = (time.clock_gettime_ns(time.CLOCK_MONOTONIC) - began) / 1e9
    stored = await pool.fetchval("SELECT count(*) FROM trading.fills")
    if stored < begin + fills:
        raise AssertionError(f"{stored} fills are stored, not {begin + fills}")
    return fills / seconds


async def bare_insert(pool: Any, fills: int) -> float:
    """Rows a second of the floor."""
    await pool.execute("DROP TABLE IF EXISTS trading.bare; CREATE TABLE trading.bare (LIKE trading.fills)")
    names = Fill.__struct_fields__
    kinds = await pool.fetch(
        "SELECT attname, atttypid::regtype::text AS kind FROM pg_attribute WHERE attrelid = 'trading.bare'::regclass"
    )
    kind_of = {row["attname"]: row["kind"] for row in kinds}
    statement = (
        f"INSERT INTO trading.bare ({', '.join(names)}) "
        f"SELECT * FROM unnest({', '.join(f'${n}::{kind_of[name]}[]' for n, name in enumerate(names, start=1))})"
    )
    moment = at(START_MS)
    rows = [
        Fill(1, "bot", "linear", "BTCUSDT", f"{n:036d}", f"{n:036d}", "ss-en-0123456789abcdefghijklmn", "Buy", "Trade",
             "entry", Decimal("37100.1"), Decimal("0.5"), Decimal("18550.05"), Decimal("10.2025"), "USDT", Decimal("0"),
             Decimal("0"), None, False, n, moment, moment)
        for n in range(fills)
    ]  # fmt: skip
    began = time.perf_counter()
    for first in range(0, fills, 1_000):
        batch = map(structs.astuple, rows[first : first + 1_000])
        await pool.execute(statement, *map(list, zip(*batch, strict=True)))
    return fills / (time.perf_counter() - began)


def percentile(values: list[float], share: float) -> float:
    """The value below which this share lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


@dataclass
class Several:
    """Many bots on one process, their feeds wired to one writer and each to its own Redis database."""

    feeds: list[Dispatcher]
    lives: list[RedisWriter]
    database: PostgresWriter


async def wire(pool: Any, links: RedisClients, count: int, tasks: asyncio.TaskGroup) -> Several:
    """So many bots with accounts of their own."""

    async def refused(row: object, fault: str) -> None:
        raise AssertionError(fault)

    several = Several([], [], PostgresWriter(pool, 1_000_000, dropped=lambda _: None, refused=refused))
    tasks.create_task(several.database.run())
    rejected = RejectedMessages(pool, AlertBatcher(Alerts(links.shared, "bench")))
    marks: dict[str, Mark] = {}
    for n in range(count):
        bot = f"bench_{count}_{n}"
        number = await pool.fetchval("SELECT trading.register_account('simulated', $1, 'shortseller_001')", bot)
        live = RedisWriter(links.writer(20 + n), bot, Held(), rebuild=list, restored=lambda: None)
        tasks.create_task(live.run())
        account = Account(number, "shortseller_001", Environment.SIMULATED, bot)
        book = AccountState(bot, live.put, marks)
        feed = Dispatcher(
            account, book, live, several.database, BotStatus(live.put), rejected, BusinessClock(), lambda what: None
        )
        several.feeds.append(feed)
        several.lives.append(live)
    return several


async def cost(several: Several, begin: int, fills: int) -> float:
    """Microseconds of this process for one fill (execution, order and position frame), spread over the bots."""
    texts = frames_of(begin, fills, 1, mixed=True)
    before = several.database.counts.committed
    gc.collect()
    began = time.process_time()
    for number in range(0, len(texts), 3):
        feed = several.feeds[number // 3 % len(several.feeds)]
        for text in texts[number : number + 3]:
            feed.data(decode(text), text)
        if number % 300 == 0:
            await asyncio.sleep(0)
    while several.database.counts.committed - before < fills:
        await asyncio.sleep(0.005)
    for live in several.lives:
        await live.flushed()
    return (time.process_time() - began) / fills * 1e6


async def by_turns(few: Several, many: Several, fills: int) -> tuple[float, float]:
    """The cost of a fill with few and with many bots: each `ROUNDS` times by turns, the medians."""
    begin = 5_000_000
    of_few, of_many = [], []
    for several in (few, many):
        await cost(several, 4_000_000, 10 * len(several.feeds))
    for _ in range(ROUNDS):
        of_few.append(await cost(few, begin, fills))
        of_many.append(await cost(many, begin, fills))
        begin += fills
        say(f"{len(few.feeds)} bots: {of_few[-1]:.0f} us a fill; {len(many.feeds)} bots: {of_many[-1]:.0f} us")
    return median(of_few), median(of_many)


async def cost_of_bots(bots: int, fills: int = 6_000) -> tuple[float, float]:
    """Microseconds of the listener for one fill with 3 bots and with so many, on servers of its own."""
    folder = Path(tempfile.mkdtemp(prefix="alpha-bench-"))
    postgres = EmbeddedPostgres(folder / "postgres", PASSWORD)
    redis = EmbeddedRedis(folder / "redis", PASSWORD, databases=bots + 100)
    postgres.start()
    redis.start()
    links = RedisClients(redis.settings())
    found = 0.0, 0.0
    try:
        connection = await connect(postgres.settings(), "bench")
        await migrate(connection)
        await register_bots(connection, load_registry(ROOT / "bots.toml"))
        await connection.close()
        pool = await create_pool(postgres.settings(), "bench", max_size=4)
        async with asyncio.TaskGroup() as tasks:
            found = await by_turns(await wire(pool, links, 3, tasks), await wire(pool, links, bots, tasks), fills)
            await _end_others()
        await pool.close()
    except* asyncio.CancelledError:
        pass
    finally:
        redis.kill()
        postgres.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)
    return found


async def _end_others() -> None:
    """Cancel every other task of this loop."""
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task():
            task.cancel()


async def full_buffer(pool: Any, several: Several) -> int:
    """How many bytes a full buffer of the default size takes, while somebody holds the table locked."""
    process = psutil.Process()
    feed = several.feeds[0]
    gc.collect()
    before: int = process.memory_info().rss
    async with pool.acquire() as holder, holder.transaction():
        await holder.execute("LOCK TABLE trading.fills IN ACCESS EXCLUSIVE MODE")
        for first in range(6_000_000, 6_000_000 + BUFFER_ROWS, 20):
            text = frame("execution", [execution(n) for n in range(first, first + 20)], first)
            feed.data(decode(text), text)
            if first % 2_000 == 0:
                await asyncio.sleep(0)
        after: int = process.memory_info().rss
    await several.database.drained()
    return after - before


async def steady_memory(folder: Path, postgres: EmbeddedPostgres, redis: EmbeddedRedis) -> int:
    """Bytes of resident memory of a real listener with three bots on the simulated exchange, each of which has traded."""
    simulator = Simulator(folder, options=("--no-rate-limits",))
    await simulator.start()
    listener = Process(
        "listener",
        ["-m", "websocket_listener"],
        {
            **postgres.environment(),
            **redis.environment(),
            **simulator.environment(),
            "ALPHA_BOTS_FILE": str(ROOT / "bots.toml"),
            **{name: value for bot in BOTS for name, value in bot.environment().items()},
        },
        folder,
    )
    links = RedisClients(redis.settings())
    await links.shared.eval("return redis.call('FLUSHALL')", 0)
    listener.start()

    async def all_synced(since_ms: int) -> bool:
        states = [await read_status(links.database(number), bot.bot) for number, bot in enumerate(BOTS)]
        return all(
            state is not None
            and state.state == "synced"
            and state.synced_at is not None
            and state.synced_at.timestamp() * 1_000 > since_ms
            for state in states
        )

    try:
        await until(lambda: all_synced(0), 90, "three bots to be synced")
        for bot in BOTS:
            trader = Trader(simulator.url, bot)
            for number in range(100):
                await trader.order("ETHUSDT", "Sell" if number % 2 else "Buy", "0.1")
            await trader.close()
        now_ms = wall_ms()
        await until(lambda: all_synced(now_ms), 90, "three bots to be synced")
        used: int = psutil.Process(listener.pid).memory_info().rss
        return used
    finally:
        listener.kill()
        simulator.process.kill()
        await links.close()


async def rates(bench: Bench, pool: Any, pipe: Pipe, processors: Processors, fills: int) -> list[Figure]:
    """How many fills a second, beside the bare insert: each `ROUNDS` times by turns, the medians."""
    floors, alone, mixed = [], [], []
    begin = 2_000
    for _ in range(ROUNDS):
        before = processors.used()
        floors.append(await bare_insert(pool, fills))
        say(f"floor: {floors[-1]:,.0f} rows/s; {processors.since(before, fills)} of processor time a row")
        before = processors.used()
        alone.append(await throughput(bench, pool, pipe, begin, fills, per_frame=20, mixed=False))
        say(f"execution frames: {alone[-1]:,.0f} fills/s; {processors.since(before, fills)} a fill")
        begin += fills
        before = processors.used()
        mixed.append(await throughput(bench, pool, pipe, begin, fills // 2, per_frame=1, mixed=True))
        say(f"all frames: {mixed[-1]:,.0f} fills/s; {processors.since(before, fills // 2)} a fill")
        begin += fills // 2
    return [
        _rate("fills/s, execution frames of 20", alone, floors, 0.5),
        _rate("fills/s, execution + order + position frames", mixed, floors, 0.15),
    ]


async def latencies(
    bench: Bench, pool: Any, links: RedisClients, redis: EmbeddedRedis, pipe: Pipe, begin: int, seconds: float
) -> list[Figure]:
    """How long one fill takes at 100 a second, beside a bare round trip and a bare commit."""
    trip = await floor_of(links.shared.ping, 500)
    await pool.execute("CREATE TABLE IF NOT EXISTS trading.one (n bigint)")
    async with pool.acquire() as bare:
        commit = await floor_of(lambda: bare.execute("INSERT INTO trading.one VALUES (1)"), 500)
    bot = load_registry(ROOT / "bots.toml").bots[0]
    spent = await measure(bench, redis, bot, pipe, begin, seconds)
    p50, p99 = percentile(spent.woken, 0.5), percentile(spent.woken, 0.99)
    return [
        _delay("frame to Redis", spent.redis, trip, 5, 5.0, "round trip"),
        _delay("frame to commit", spent.commit, commit, 5, 15.0, "one-row commit"),
        Figure("frame to a woken reader", f"p50 {p50:.2f} ms, p99 {p99:.2f} ms", "", "", "p50 < 1, p99 < 5 ms", p50 < 1 and p99 < 5),
    ]  # fmt: skip


async def beside(bench: Bench, redis: EmbeddedRedis, pipe: Pipe) -> None:
    """For a benchmark that runs beside this process: each line in says for how many seconds, each line out is JSON with p50 and
    p99 of the delays in ms.
    """
    bot, begin = load_registry(ROOT / "bots.toml").bots[0], 10_000_000
    print(json.dumps({"ready": True}), flush=True)
    while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
        try:
            async with asyncio.timeout(4 * float(line) + 60):
                spent = await measure(bench, redis, bot, pipe, begin, float(line))
        except Exception:
            traceback.print_exc()
            raise
        begin += 10_000_000
        said = {
            name: (percentile(values, 0.5), percentile(values, 0.99))
            for name, values in (("redis", spent.redis), ("commit", spent.commit), ("woken", spent.woken))
        }
        print(json.dumps(said), flush=True)


async def run(fills: int, seconds: float, part: str) -> list[Figure]:
    """Measure everything, or one of `PARTS`; returns the table."""
    folder = Path(tempfile.mkdtemp(prefix="alpha-bench-"))
    postgres, redis = EmbeddedPostgres(folder / "postgres", PASSWORD), EmbeddedRedis(folder / "redis", PASSWORD)
    postgres.start()
    redis.start()
    port = free_port()
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=pusher, args=(port, theirs), daemon=True)
    process.start()
    links = RedisClients(redis.settings())
    failed = False
    try:
        connection = await connect(postgres.settings(), "bench")
        await migrate(connection)
        await register_bots(connection, load_registry(ROOT / "bots.toml"))
        await connection.close()
        pool = await create_pool(postgres.settings(), "bench", max_size=4)
        await asyncio.sleep(1.0)
        spare_collector()
        figures: list[Figure] = []
        async with asyncio.TaskGroup() as tasks:
            bench = await open_bench(pool, links, port, tasks)
            processors = Processors(
                psutil.Process(postgres.pid),
                psutil.Process((await links.shared.info("server"))["process_id"]),
            )
            # orders and positions among them: the listener holds executions back until it knows a symbol's mode
            await throughput(bench, pool, ours, 0, 2_000, per_frame=20, mixed=True)
            if part in {"all", "rates"}:
                figures += await rates(bench, pool, ours, processors, fills)
            if part in {"all", "latencies"}:
                figures += await latencies(bench, pool, links, redis, ours, 2_000 + 2 * ROUNDS * fills, seconds)
            if part == "beside":
                await beside(bench, redis, ours)
            if part in {"all", "bots"}:
                few, many = await wire(pool, links, 3, tasks), await wire(pool, links, 30, tasks)
                figures.append(_cost(*await by_turns(few, many, fills // 10)))
                buffer = await full_buffer(pool, few)
                figures += _memory(await steady_memory(folder, postgres, redis), buffer)
            await _end_others()
        await pool.close()
    except* asyncio.CancelledError:
        pass
    except* Exception:
        if part != "beside":
            raise
        failed = True
        traceback.print_exc()
    finally:
        process.kill()
        redis.kill()
        postgres.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)
        if part == "beside":
            # a thread may wait for a process that was lost
            os._exit(int(failed))
    return figures


def _rate(what: str, rates: list[float], floors: list[float], aim: float) -> Figure:
    rate, floor = median(rates), median(floors)
    return Figure(
        what,
        f"{rate:,.0f} ({min(rates):,.0f} to {max(rates):,.0f})",
        f"{floor:,.0f} bare ({min(floors):,.0f} to {max(floors):,.0f})",
        f"{rate / floor:.2f}",
        f">= {aim}",
        rate / floor >= aim,
    )


def _cost(of_few: float, of_many: float) -> Figure:
    share = of_many / of_few
    return Figure(
        "processor time a fill, 30 bots", f"{of_many:.0f} us", f"{of_few:.0f} us, 3 bots", f"{share:.2f}", "<= 1.2", share <= 1.2
    )  # fmt: skip


def _memory(steady: int, buffer: int) -> list[Figure]:
    alone, full = steady / 1024 / 1024, (steady + buffer) / 1024 / 1024
    return [
        Figure("memory of the listener, three bots", f"{alone:.0f} MB", "", "", "< 120 MB", alone < 120),
        Figure(f"the same and a full buffer, {BUFFER_ROWS:,} rows", f"{full:.0f} MB", "", "", "< 300 MB", full < 300),
    ]


def _delay(what: str, spent: list[float], floor: Floor, most: float, worst_ms: float, of: str) -> Figure:
    p50, p99 = percentile(spent, 0.5), percentile(spent, 0.99)
    good = p50 <= most * floor.paced_ms and p99 < worst_ms
    return Figure(
        what,
        f"p50 {p50:.2f} ms, p99 {p99:.2f} ms",
        f"{floor.paced_ms:.3f} ms {of} at this pace ({floor.tight_ms:.3f} in a tight loop)",
        f"{p50 / floor.paced_ms:.1f} ({p50 / floor.tight_ms:.1f})",
        f"p50 <= {most:g}, p99 < {worst_ms:g} ms",
        good,
    )


def main() -> int:
    """Print the table; exit code 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fills", type=int, default=60_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--part", choices=PARTS, default="all")
    chosen = parser.parse_args()
    figures = uvloop.run(run(chosen.fills, chosen.seconds, chosen.part))
    if chosen.part == "beside":
        return 0
    table = Table("what", "measured", "floor", "ratio", "aim", "", title=f"Listener, {os.cpu_count()} cores")
    for line in figures:
        table.add_row(line.what, line.value, line.floor, line.ratio, line.aim, "ok" if line.good else "MISSED")
    Console().print(table)
    print(f"memory of this process {psutil.Process().memory_info().rss // 1024 // 1024} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
