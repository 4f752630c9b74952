"""The tick recorder's process: wiring, startup and orderly shutdown."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec

from prometheus_client import CollectorRegistry
from redis.exceptions import RedisError

from alpha.alert_batcher import AlertBatcher
from alpha.alerts import Alert, Alerts, Level
from alpha.bybit.client import market_gateway
from alpha.bybit.connect_budget import ConnectBudget
from alpha.bybit.connection import Handlers, Timing
from alpha.bybit.hosts import hosts_of
from alpha.bybit.messages import Envelope
from alpha.bybit.rate_limiter import Priority, RateLimiter
from alpha.bybit.silence import Silence
from alpha.bybit.stream import Connecting, Stream, Watch
from alpha.bybit.web_socket import WebSocket
from alpha.clock import wall_ms
from alpha.errors import AlphaError, Misconfigured, Retry
from alpha.health import HealthServer
from alpha.live_state import keys
from alpha.live_state.connect import REDIS_UNAVAILABLE, RedisClients
from alpha.live_state.maintenance import in_maintenance
from alpha.logs import logger
from alpha.model.trading_session import silence_is_a_fault
from alpha.postgres.database import create_pool
from alpha.postgres.drift import keep_drift
from alpha.postgres.rejected import RejectedMessage, RejectedMessages, as_text
from alpha.process import LoopPulse, end_tasks
from alpha.registry import load_registry
from tick_recorder.backfill import Backfill
from tick_recorder.columns import Rejection
from tick_recorder.fill_quotes import FillQuotes
from tick_recorder.frames import is_data, topic_of
from tick_recorder.influx.sink import InfluxSink
from tick_recorder.metrics import RecorderMetrics
from tick_recorder.recorder import Batch, Recorder, RecorderHooks, RecorderLimits
from tick_recorder.schema import Kind
from tick_recorder.settings import RecorderSettings
from tick_recorder.store import TickStore, hour_start
from tick_recorder.writer import Report, Writer

log = logger(__name__)
P = ParamSpec("P")
#: Decoding yields to the connection at least this often.
SLICE_S = 0.004
DECODE_EVERY_S = 0.02
FOLLOW_S = 1.0
LEARN_S = 5.0
RETAIN_S = 60.0
#: Best bid and offer are resent every 3 s even if nothing changes, so silence means that something is wrong.
NO_DATA_S = 30.0
#: How long the stream, the disk or Redis may be unavailable, or frames may wait, before the service is unhealthy.
AWAY_S = 60.0
LAG_S = 30.0
#: Bybit allows 21,000 characters of topics per connection.
MOST_CHARACTERS = 20_000
#: Bytes read at once: frames are only queued on receipt and decoded later.
_BUFFER_BYTES = 256 * 1024


class RecorderProcess:
    """Everything of one process, wired."""

    def __init__(self, settings: RecorderSettings, links: RedisClients, store: TickStore) -> None:
        self._settings = settings
        self._links = links
        self.store = store
        self.alerts = Alerts(links.shared, "tick_recorder")
        self.grouped = AlertBatcher(self.alerts)
        self.rejected: RejectedMessages | None = None
        self._unsaid: list[RejectedMessage] = []
        self._epoch = 0
        self._stopping = False
        self._in_maintenance = False
        self._registry = load_registry(settings.alpha_bots_file)
        hosts = hosts_of(settings)
        throttle = RateLimiter(links.shared, egress=settings.alpha_egress, bots=len(self._registry.bots))
        self._gateway = market_gateway(hosts, throttle)
        self.stream = Stream(
            "public",
            hosts.public_ws,
            Handlers(self._other, self._malformed, self._raw),
            Watch(self._up, self._down, self._refused),
            all_topics_needed=False,
            connecting=Connecting(
                timing=Timing(silence_s=settings.ticks_silence_s, ping_s=min(10.0, settings.ticks_silence_s / 2)),
                budget=ConnectBudget(),
                open_socket=partial(WebSocket.open, buffer_bytes=_BUFFER_BYTES),
            ),
        )
        self.backfill = Backfill(
            self._gateway.recent_trades,
            lambda symbol: topic_of(Kind.TRADES, symbol, settings.ticks_depth) in self.stream.confirmed,
            lambda: self._epoch,
        )
        self.writer = Writer(
            store,
            retention_days=settings.ticks_retention_days,
            most_bytes=int(settings.ticks_max_gb * 1_000_000_000),
        )
        # before anything looks at what is stored
        if rows := self.writer.recover(Report()):
            log.info("journal_recovered", rows=rows)
        self.recorder = Recorder(
            store,
            settings.kinds,
            limits=RecorderLimits(
                depth=settings.ticks_depth,
                depth_every_ms=settings.ticks_depth_every_ms,
                buffer_bytes=settings.ticks_buffer_mb * 1_000_000,
            ),
            hooks=RecorderHooks(reject=self._reject, renew=self.stream.renew, backfill=self.backfill.ask),
        )
        self.backfill.recorder = self.recorder
        self.influx = InfluxSink(settings, store, self._reject_line, self.grouped) if settings.influx_url else None
        #: Exchange time up to which everything received is in parts.
        self._parted_ms = 0
        self.fill_quotes = FillQuotes(store, self.recorder, hosts.environment, lambda: self._parted_ms)
        self._decode_soon = asyncio.Event()
        #: Batches that are in no part yet.
        self._taken: list[Batch] = []
        self._parted_s = time.monotonic()
        self._writing = threading.Lock()
        now_s = time.monotonic()
        self.stream_seen_s = self.redis_seen_s = self.stored_s = self.caught_up_s = self._data_s = now_s
        self._retained_s = now_s - RETAIN_S + 5.0
        self._silence = Silence(NO_DATA_S, now_s)

    async def run(self, stop: asyncio.Event) -> None:
        """Record until `stop` is set, then store everything received so far."""
        jobs: list[Coroutine[Any, Any, None]] = [
            *(self.stream.run(), self._decode(), self._follow(), self._store_parts(), self._use_postgres()),
            *(self.backfill.run(), self.grouped.run()),
            *(keep_drift(self._settings, "tick_recorder"), self._learn()),
        ]
        if self.influx is not None:
            jobs.append(self.influx.run())
        work = [asyncio.create_task(job) for job in jobs]
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({stopping, *work}, return_when=asyncio.FIRST_COMPLETED)
            for task in work:
                if task.done():
                    await task
        finally:
            stopping.cancel()
            self._stopping = True
            await end_tasks(work, 5.0)
            self.recorder.decode_all()
            with suppress(OSError):
                await asyncio.to_thread(self._store_now)
            with suppress(TimeoutError):
                async with asyncio.timeout(2.0):
                    await self.grouped.tell(all_of_it=True)
            await asyncio.wait([asyncio.ensure_future(self._gateway.close())], timeout=1.0)

    # -- in -----------------------------------------------------------------------------------------------------

    def _raw(self, frame: str | bytes) -> bool:
        if not is_data(frame) or not isinstance(frame, bytes):
            return False
        self._data_s = time.monotonic()
        self.recorder.received(frame)
        self._decode_soon.set()
        return True

    def _other(self, envelope: Envelope, frame: str | bytes) -> None:
        """A data frame whose text does not begin like the known topics."""
        self._data_s = time.monotonic()
        self.recorder.received(frame.encode() if isinstance(frame, str) else frame)
        self._decode_soon.set()

    def _malformed(self, frame: str | bytes, fault: str) -> None:
        self._reject(Rejection(fault, as_text(frame)))

    async def _decode(self) -> None:
        while True:
            await self._decode_soon.wait()
            self._decode_soon.clear()
            while self.recorder.decode_some(SLICE_S):  # noqa: ASYNC110 - other work runs between two slices
                await asyncio.sleep(0)
            self.caught_up_s = time.monotonic()
            # let frames accumulate: fewer iterations of the loop for the same work
            await asyncio.sleep(DECODE_EVERY_S)

    def _up(self) -> None:
        self.stream_seen_s = time.monotonic()
        self._silence.connected(self.stream_seen_s)

    def _down(self, why: str) -> None:
        self._epoch += 1
        if self._stopping:
            self.recorder.interrupted("the recorder was stopped")
            return
        self.recorder.interrupted(f"the stream was lost: {why}")
        if self._in_maintenance:
            return  # the exchange is down for everybody, and the listener has raised the alert
        if self._silence.lasting:
            return  # told once, when it began
        self.grouped.note("ticks:stream", lambda count, _: Alert(
            Level.WARNING, "ticks:stream", f"The stream of ticks was interrupted {count} times; the last: {why}.",
            "Missed trades are read over REST as far back as it reaches; the rest are gaps: alpha ticks ls."))  # fmt: skip

    def _refused(self, why: str) -> None:
        log.warning("public_stream_refused", why=why)

    # -- what is recorded ---------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Update the recorded symbols every second; while Redis is unavailable, keep the last ones."""
        found: dict[str, set[str]] = {}
        while True:
            wanted = set(self._settings.ticks_symbols)
            if not wanted:
                for bot in self._registry.bots:
                    with suppress(*REDIS_UNAVAILABLE, RedisError):
                        found[bot.id] = set(await self._links.of(bot).smembers(keys.symbols(bot.id)))
                        self.redis_seen_s = time.monotonic()
                wanted = {symbol for symbols in found.values() for symbol in symbols}
            if wanted != self.recorder.symbols:
                self.recorder.decode_all()
                self.recorder.follow(wanted)
                self._check_length()
                self.stream.set_topics(self.recorder.topics)
            now_s = time.monotonic()
            self._look(now_s)
            await self._watch_silence(now_s)
            self._in_maintenance = await in_maintenance(self._links.shared)
            with suppress(*REDIS_UNAVAILABLE):
                await self.alerts.flush()
            await asyncio.sleep(FOLLOW_S)

    async def _learn(self) -> None:
        """Find out which symbols have trading sessions; repeated when new symbols are recorded."""
        learned: set[str] = set()
        while True:
            if (wanted := set(self.recorder.symbols)) and not wanted <= learned:
                with suppress(AlphaError, OSError, TimeoutError):
                    await self._gateway.instruments(rank=Priority.BACKFILL)
                    learned |= wanted
            await asyncio.sleep(LEARN_S)

    def _check_length(self) -> None:
        length = sum(map(len, self.recorder.topics))
        if length > MOST_CHARACTERS:
            self._warn(
                "ticks:symbols",
                f"{len(self.recorder.symbols)} symbols do not fit into one connection ({length} characters of topics).",
                f"Set at most {MOST_CHARACTERS // 60} in TICKS_SYMBOLS.",
            )

    def _look(self, now_s: float) -> None:
        """React to the state of the stream: confirmed and refused topics."""
        if self.stream.live:
            self.stream_seen_s = now_s
            confirmed = self.stream.confirmed
            self.recorder.confirmed(confirmed)
            refused = self.recorder.topics - confirmed
            fresh = now_s - max(self._data_s, self._silence.connected_s) < NO_DATA_S
            if refused and fresh and Kind.BBO in self._settings.kinds:
                names = sorted({topic.rpartition(".")[2] for topic in refused})
                self.grouped.note("ticks:refused", lambda _, about: Alert(
                    Level.WARNING, "ticks:refused", f"The exchange does not stream {', '.join(about)}.",
                    "Check the spelling in TICKS_SYMBOLS."), about=names)  # fmt: skip

    async def _watch_silence(self, now_s: float) -> None:
        """Replace a connection that has brought no data for too long; told once, and when data is back."""
        # contracts with trading sessions may all be silent at once
        always = silence_is_a_fault(self.recorder.symbols, self._gateway.with_sessions)
        if not (self.stream.live and self.stream.confirmed and always and Kind.BBO in self._settings.kinds):
            return
        known = self._silence.lasting
        if self._silence.too_long(now_s, self._data_s):
            why = f"no data for {now_s - self._data_s:.0f} s"
            if not known:
                await self.alerts.raise_alert(Alert(
                    Level.WARNING, "ticks:silent", f"The stream of ticks is connected and silent: {why}.",
                    "It is replaced after 30 s, then ever more rarely, until there is data. A market that is paused sends none."),
                    wall_ms())  # fmt: skip
            self.stream.replace(why)
        elif not self._silence.lasting:
            await self.alerts.resolve("ticks:silent", wall_ms())

    # -- out ----------------------------------------------------------------------------------------------------

    async def _store_parts(self) -> None:
        settings = self._settings
        turn_s = min(settings.ticks_journal_s, settings.ticks_part_s)
        while True:
            await asyncio.sleep(turn_s)
            self.recorder.decode_some(SLICE_S)
            report = Report()
            newest_ms, batch = self.recorder.newest_ms, self.recorder.swap()
            self._taken.append(batch)
            await asyncio.to_thread(self._work, self.writer.take, batch, report)
            self.recorder.converted(batch)
            # what waits in memory leaves it with the part
            crowded = self.recorder.buffered_bytes > settings.ticks_buffer_mb * 1_000_000 / 4
            try:
                if crowded or time.monotonic() - self._parted_s > settings.ticks_part_s - turn_s / 2:
                    await asyncio.to_thread(self._work, self.writer.write, report)
                    self._parted_s, self._parted_ms = time.monotonic(), newest_ms
                    for batch in self._taken:
                        self.recorder.stored(batch)
                    self._taken.clear()
                    await asyncio.to_thread(self._work, self._tidy, report)
                else:
                    await asyncio.to_thread(self._work, self.writer.sync, report)
                self.stored_s = time.monotonic()
            except OSError as fault:
                self._disk_fault(fault)
            self._tell(report)

    def _work(self, work: Callable[P, None], *arguments: P.args, **named: P.kwargs) -> None:
        """One thread at a time, also at the end, when a cancelled turn may still be writing."""
        with self._writing:
            began_s = time.thread_time()
            try:
                work(*arguments, **named)
            finally:
                self.writer.counts.write_s += time.thread_time() - began_s

    def _tidy(self, report: Report) -> None:
        self.writer.tidy(self.recorder.newest_ms, report)
        if self.recorder.newest_ms and time.monotonic() - self._retained_s > RETAIN_S:
            self._retained_s = time.monotonic()
            self.writer.retain(self.recorder.newest_ms, report)

    def _store_now(self) -> None:
        """Store the batch in progress and everything received since, at shutdown."""
        report = Report()
        for batch in (*self._taken, self.recorder.swap()):
            self._work(self.writer.take, batch, report)
        self._work(self.writer.sync, report)
        self._work(self.writer.write, report)

    def _tell(self, report: Report) -> None:
        for rejection in report.rejected:
            self.recorder.counts.rejected += 1
            self._reject(rejection)
        if self.influx is not None:
            self.influx.written(report.written, report.joined)
        for fault in report.faults:
            self._warn("ticks:file", fault, "")
        if report.full:
            hours = f"{len(report.full)} hours, from {hour_start(report.full[0]):%Y-%m-%d %H:00} on"
            self._warn("ticks:full", f"The disk of TICKS_DIR is full; the oldest ticks were deleted: {hours}.",
                       "Give it more room, or lower TICKS_MAX_GB or TICKS_RETENTION_DAYS.")  # fmt: skip
        if report.over_size:
            log.info("size_limit", hours=len(report.over_size))
        if report.aged:
            log.info("retention", hours=len(report.aged))

    def _disk_fault(self, fault: OSError) -> None:
        log.warning("ticks_not_stored", why=str(fault), buffered_mb=self.recorder.buffered_bytes // 1_000_000)
        why = fault.strerror or str(fault)
        self.grouped.note("ticks:disk", lambda _, __: Alert(
            Level.CRITICAL, "ticks:disk", f"Ticks cannot be stored in {self.store.root}: {why}.",
            "They wait in memory until TICKS_BUFFER_MB is full. Make room there."))  # fmt: skip

    def _warn(self, key: str, text: str, remedy: str) -> None:
        self.grouped.note(key, lambda _, __: Alert(Level.WARNING, key, text, remedy))

    # -- what cannot be read --------------------------------------------------------------------------------------

    def _reject(self, rejection: Rejection) -> None:
        self._keep_rejected(RejectedMessage("tick stream", rejection.message, rejection.fault))

    def _reject_line(self, line: str, fault: str) -> None:
        self._keep_rejected(RejectedMessage("InfluxDB", line, fault))

    def _keep_rejected(self, message: RejectedMessage) -> None:
        log.warning("rejected", source=message.source, fault=message.fault, message=message.message[:500])
        if self.rejected is not None:
            self.rejected.put(message)
        elif len(self._unsaid) < 1_000:
            self._unsaid.append(message)

    async def _use_postgres(self) -> None:
        """Store rejected messages and the quotes around our fills. Only these need PostgreSQL: without it the recorder runs
        on and reconnects later.
        """
        while True:
            try:
                pool = await create_pool(self._settings, "tick_recorder", min_size=0, max_size=2)
            except (Retry, Misconfigured) as fault:
                log.info("postgres_away", why=str(fault))
                await asyncio.sleep(10.0)
                continue
            self.rejected = RejectedMessages(pool, self.grouped)
            for message in self._unsaid:
                self.rejected.put(message)
            self._unsaid.clear()
            try:
                async with asyncio.TaskGroup() as jobs:
                    jobs.create_task(self.rejected.run())
                    if Kind.BBO in self._settings.kinds:
                        jobs.create_task(self.fill_quotes.run(pool))
            finally:
                pool.terminate()

    # -- health -------------------------------------------------------------------------------------------------

    def stream_fault(self) -> str | None:
        """The fault while the stream has been disconnected for too long, or None."""
        away_s = time.monotonic() - self.stream_seen_s
        return f"The stream of ticks has not been connected for {away_s:.0f} s." if away_s > AWAY_S else None

    def disk_fault(self) -> str | None:
        """The fault while nothing has been stored for too long, or None."""
        away_s = time.monotonic() - self.stored_s
        limit_s = AWAY_S + self._settings.ticks_journal_s
        return f"Nothing has been stored in {self.store.root} for {away_s:.0f} s." if away_s > limit_s else None

    def lag_fault(self) -> str | None:
        """The fault while frames have waited for too long, or None."""
        behind_s = time.monotonic() - self.caught_up_s if self.recorder.pending else 0.0
        return f"Frames have waited for {behind_s:.0f} s: this machine is too slow." if behind_s > LAG_S else None

    def redis_fault(self) -> str | None:
        """The fault while the symbols of the bots are unknown, or None."""
        if self._settings.ticks_symbols:
            return None
        away_s = time.monotonic() - self.redis_seen_s
        return (
            f"Redis has not answered for {away_s:.0f} s: the symbols of the bots are unknown."
            if away_s > AWAY_S
            else None
        )

    def details(self) -> dict[str, object]:
        """Details for the health endpoint."""
        found: dict[str, object] = {
            "symbols": sorted(self.recorder.symbols),
            "stream": str(self.stream.state),
            "open_gaps": len(self.recorder.gaps),
            "buffered_mb": round(self.recorder.buffered_bytes / 1_000_000, 1),
        }
        if self.influx is not None:
            found["influx"] = self.influx.state()
        return found


async def serve(settings: RecorderSettings, stop: asyncio.Event, pulse: LoopPulse) -> None:
    """Run the service until `stop`. Raises Misconfigured or Retry, in one sentence, if it cannot start."""
    links = RedisClients(settings)
    store = TickStore(settings.ticks_dir)
    try:
        left = store.open()
        if left:
            log.info("cleaned_up", files=len(left))
        if not settings.ticks_symbols:
            await _redis(links, stop, settings.ticks_start_wait_s)
        if stop.is_set():
            return
        process = RecorderProcess(settings, links, store)
        registry = CollectorRegistry()
        registry.register(
            RecorderMetrics(
                process.recorder,
                process.writer,
                process.backfill,
                process.stream,
                process.influx,
                process.fill_quotes,
            )
        )
        checks = {
            "stream": process.stream_fault,
            "disk": process.disk_fault,
            "lag": process.lag_fault,
            "redis": process.redis_fault,
        }
        health = HealthServer(settings, pulse, checks, registry, process.details)
        log.info("started", folder=str(store.root), streams=settings.ticks_streams, health_port=health.port)
        try:
            await process.run(stop)
        finally:
            health.close()
    finally:
        store.close()
        await links.close()


async def _redis(links: RedisClients, stop: asyncio.Event, wait_s: float) -> None:
    deadline_s = time.monotonic() + wait_s
    while not stop.is_set():
        try:
            await links.check()
            return
        except Retry:
            if time.monotonic() > deadline_s:
                raise
            await asyncio.sleep(0.5)
