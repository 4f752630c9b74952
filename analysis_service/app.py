"""The analysis service's process: wiring, start, and an orderly end."""

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from prometheus_client import CollectorRegistry
from redis.exceptions import RedisError

from alpha.alert_batcher import AlertBatcher
from alpha.alerts import Alert, Alerts, Level
from alpha.analysis import Definition, read_definition
from alpha.bybit.client import market_gateway
from alpha.bybit.connect_budget import ConnectBudget
from alpha.bybit.connection import Handlers, Timing
from alpha.bybit.hosts import hosts_of
from alpha.bybit.messages import Envelope
from alpha.bybit.rate_limiter import RateLimiter
from alpha.bybit.silence import Silence
from alpha.bybit.stream import Connecting, Stream, Watch
from alpha.drift import NOTES, DriftKind
from alpha.errors import Misconfigured, Rejected, Retry
from alpha.health import HealthServer
from alpha.live_state import keys
from alpha.live_state.connect import REDIS_UNAVAILABLE, RedisClients
from alpha.logs import logger
from alpha.memory import give_back
from alpha.model.interval import INTERVAL_MS
from alpha.model.trading_session import silence_is_a_fault
from alpha.postgres.database import POSTGRES_ERRORS, Pool, create_pool
from alpha.postgres.drift import keep_drift
from alpha.postgres.rejected import RejectedMessage, RejectedMessages, as_text
from alpha.process import LoopPulse, end_tasks
from alpha.registry import load_registry
from analysis_service.analyst import Analyst
from analysis_service.feed import CandleFeed, check_symbols
from analysis_service.metrics import AnalysisMetrics
from analysis_service.settings import AnalysisSettings
from analysis_service.store import History, LivePublisher

log = logger(__name__)
FOLLOW_S = 1.0
#: How long the stream, Redis, PostgreSQL or a candle may be missing before the service is unhealthy.
AWAY_S = 60.0
#: Candles are pushed about every second where anything is traded, so that without any something is wrong.
NO_DATA_S = 60.0
_MOST_REJECTED_WAITING = 1_000
#: Bybit allows 21,000 characters of topics per connection.
MOST_CHARACTERS = 20_000


class AnalysisProcess:
    """Everything of one process, wired."""

    def __init__(self, settings: AnalysisSettings, links: RedisClients, definition: Definition) -> None:
        self._settings = settings
        self._links = links
        self._registry = load_registry(settings.alpha_bots_file)
        self.alerts = Alerts(links.shared, "analysis_service")
        self.grouped = AlertBatcher(self.alerts)
        self.live = LivePublisher(links.shared, definition)
        self.history = History(definition, settings.analysis_retention_days)
        self.analyst = Analyst(
            definition,
            self.live,
            self.history,
            self.grouped,
            backfill=settings.analysis_backfill,
            alert_on=settings.analysis_alerts,
        )
        self._was_busy = True
        hosts = hosts_of(settings)
        self.gateway = market_gateway(
            hosts, RateLimiter(links.shared, egress=settings.alpha_egress, bots=len(self._registry.bots))
        )
        self.feed = CandleFeed(self.gateway, definition, self.analyst.keep, self.analyst.closed, self._unknown)
        self.stream = Stream(
            "public",
            hosts.public_ws,
            Handlers(self._data, self._malformed),
            Watch(self._up, self._down, self._refused),
            all_topics_needed=False,
            connecting=Connecting(
                timing=Timing(silence_s=settings.analysis_silence_s, ping_s=min(10.0, settings.analysis_silence_s / 2)),
                budget=ConnectBudget(),
            ),
        )
        self.symbols: set[str] = set()
        self.rejected: RejectedMessages | None = None
        self.disagreements = 0
        self._unsaid: list[RejectedMessage] = []
        now_s = time.monotonic()
        self.stream_seen_s = self.redis_seen_s = self.candles_seen_s = self.postgres_seen_s = self._data_s = now_s
        self._silence = Silence(NO_DATA_S, now_s)

    async def check(self) -> None:
        """Raise Misconfigured when a symbol of ANALYSIS_SYMBOLS does not exist; an unavailable exchange is not an error."""
        with suppress(Retry, OSError, TimeoutError):
            await check_symbols(self.gateway, self._settings.analysis_symbols, self.analyst.definition.base)

    async def run(self, stop: asyncio.Event) -> None:
        """Analyse until `stop` is set, then store what is there."""
        jobs: list[Coroutine[Any, Any, None]] = [
            *(self.stream.run(), self.feed.run(), self._follow(), self._keep_history(), self.grouped.run()),
            *(self._compare(), keep_drift(self._settings, "analysis_service")),
        ]
        work = [asyncio.create_task(job) for job in jobs]
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({stopping, *work}, return_when=asyncio.FIRST_COMPLETED)
            for task in work:
                if task.done():
                    await task
        finally:
            stopping.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(3.0):
                    await self.history.drained()
            await end_tasks(work, 5.0)
            await asyncio.wait([asyncio.ensure_future(self.gateway.close())], timeout=1.0)

    # -- in -----------------------------------------------------------------------------------------------------

    def _data(self, envelope: Envelope, frame: str | bytes) -> None:
        self._data_s = time.monotonic()
        try:
            if envelope.topic.startswith("kline."):
                self.feed.kline(envelope)
            else:
                NOTES.note(DriftKind.TOPIC, "candle stream", envelope.topic.split(".")[0], as_text(frame))
        except (Rejected, IndexError) as fault:
            self._reject(frame, str(fault), envelope.topic)

    def _malformed(self, frame: str | bytes, fault: str) -> None:
        self._reject(frame, fault, None)

    def _reject(self, frame: str | bytes, fault: str, topic: str | None) -> None:
        message = RejectedMessage("candle stream", as_text(frame), fault, topic=topic)
        log.warning("rejected", fault=fault, message=message.message[:500])
        if self.rejected is not None:
            self.rejected.put(message)
        elif len(self._unsaid) < _MOST_REJECTED_WAITING:
            self._unsaid.append(message)

    def _up(self) -> None:
        self.stream_seen_s = time.monotonic()
        self._silence.connected(self.stream_seen_s)
        self.feed.check_all()

    def _down(self, why: str) -> None:
        log.info("public_stream_down", why=why)

    def _refused(self, why: str) -> None:
        log.warning("public_stream_refused", why=why)

    def _unknown(self, symbol: str, why: str) -> None:
        self.grouped.note(f"analysis:symbol:{symbol}", lambda _, __: Alert(
            Level.WARNING, f"analysis:symbol:{symbol}", f"{symbol} cannot be analysed: {why}",
            "Check the symbol in ANALYSIS_SYMBOLS or in the bot's settings."))  # fmt: skip

    # -- what is followed ---------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Check each second which symbols to analyse; while Redis is unavailable, keep the last known ones."""
        found: dict[str, set[str]] = {}
        while True:
            seen = True
            for bot in self._registry.bots:
                try:
                    found[bot.id] = set(await self._links.of(bot).smembers(keys.symbols(bot.id)))
                except (*REDIS_UNAVAILABLE, RedisError):
                    seen = False
            if seen:
                self.redis_seen_s = time.monotonic()
            wanted = set(self._settings.analysis_symbols).union(*found.values())
            if wanted != self.symbols:
                self.symbols = wanted
                self.analyst.follow(wanted)
                self.feed.follow(wanted)
                self._check_length()
                self.stream.set_topics(self.feed.topics())
            with suppress(*REDIS_UNAVAILABLE, RedisError):
                await self.live.keep_only(wanted)
                await self.analyst.publish_again()
                await self.alerts.flush()
            self._look()
            self._give_back()
            await asyncio.sleep(FOLLOW_S)

    def _give_back(self) -> None:
        """Once all history is read and stored, what reading it took is free again."""
        busy = not self.feed.symbols or bool(self.feed.unread) or bool(self.history.waiting)
        if self._was_busy and not busy:
            give_back()
        self._was_busy = busy

    def _check_length(self) -> None:
        length = sum(map(len, self.feed.topics()))
        if length > MOST_CHARACTERS:
            text = (
                f"{len(self.symbols)} symbols are more than one connection takes ({length:,} characters of topics, "
                f"{MOST_CHARACTERS:,} allowed)."
            )
            self.grouped.note("analysis:symbols", lambda _, __: Alert(
                Level.WARNING, "analysis:symbols", text, "Name fewer symbols in ANALYSIS_SYMBOLS."))  # fmt: skip

    def _look(self) -> None:
        now_s = time.monotonic()
        if self.stream.live:
            self.stream_seen_s = now_s
            # contracts whose market closes may all be silent at once
            broken = silence_is_a_fault(self.symbols, self.gateway.with_sessions)
            if broken and self._silence.too_long(now_s, self._data_s):
                self.stream.replace(f"no candle for {now_s - self._data_s:.0f} s")
        if not self.feed.overdue() and not self.feed.unread:
            self.candles_seen_s = now_s
        if self.history.fault is None:
            self.postgres_seen_s = now_s

    # -- out ----------------------------------------------------------------------------------------------------

    async def _keep_history(self) -> None:
        """Store in PostgreSQL, which may be unavailable: Redis has the newest values meanwhile."""
        while True:
            try:
                pool = await create_pool(self._settings, "analysis_service", min_size=0, max_size=2)
                latest = await self.history.latest(pool)
            except (*POSTGRES_ERRORS, Retry, Misconfigured) as fault:
                self.history.fault = f"PostgreSQL cannot be asked: {str(fault)[:200]}"
                log.info("postgres_away", why=str(fault)[:200])
                await asyncio.sleep(2.0)
                continue
            self.history.fault = None
            self.analyst.begin(latest)
            await self._serve_history(pool)

    async def _serve_history(self, pool: Pool) -> None:
        self.rejected = RejectedMessages(pool, self.grouped)
        for message in self._unsaid:
            self.rejected.put(message)
        self._unsaid.clear()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.rejected.run())
                tasks.create_task(self.history.run(pool))
                tasks.create_task(self._refill(pool))
        finally:
            pool.terminate()

    async def _refill(self, pool: Pool) -> None:
        """After a long outage rows were dropped: compute again what is missing, as far as the candles here reach."""
        while True:
            await asyncio.sleep(5.0)
            if self.history.dropped and self.history.fault is None and not self.history.waiting:
                with suppress(*POSTGRES_ERRORS, Retry, Misconfigured):
                    stored = await self.history.latest(pool)
                    lost, self.history.dropped = self.history.dropped, set()
                    self.analyst.begin({series: stored[series] for series in lost if series in stored}, lost)
                    self.feed.touch(lost)

    async def _compare(self) -> None:
        while True:
            await asyncio.sleep(self._settings.analysis_check_s)
            try:
                found = await self.feed.compare()
            except (Retry, Rejected, OSError, TimeoutError) as fault:
                log.info("candles_not_compared", why=str(fault)[:200])
                continue
            if found:
                self.disagreements += len(found)
                self.grouped.note("analysis:candles", lambda _, __, found=found: Alert(  # type: ignore[misc]
                    Level.WARNING, "analysis:candles",
                    f"{len(found)} values of longer candles are not the exchange's own; the first: {found[0]}.",
                    "Compare both; a restart of analysis_service reads the exchange's own."))  # fmt: skip

    # -- health -------------------------------------------------------------------------------------------------

    def stream_fault(self) -> str | None:
        """A sentence while the stream has been disconnected for too long."""
        away_s = time.monotonic() - self.stream_seen_s
        return f"The stream of candles has not been connected for {away_s:.0f} s." if away_s > AWAY_S else None

    def redis_fault(self) -> str | None:
        """A sentence while Redis has been unavailable for too long."""
        away_s = time.monotonic() - self.redis_seen_s
        return f"Redis has not answered for {away_s:.0f} s." if away_s > AWAY_S else None

    def postgres_fault(self) -> str | None:
        """A sentence while rows have not been stored for too long."""
        away_s = time.monotonic() - self.postgres_seen_s
        return f"{self.history.fault} ({away_s:.0f} s)" if away_s > AWAY_S and self.history.fault else None

    def candles_fault(self) -> str | None:
        """A sentence while candles are missing for too long."""
        away_s = time.monotonic() - self.candles_seen_s
        if away_s <= AWAY_S:
            return None
        waiting = self.feed.unread or self.feed.overdue()
        return f"Closed candles have been missing for {away_s:.0f} s: {', '.join(waiting[:5])}."

    def details(self) -> dict[str, object]:
        """What is analysed now."""
        definition = self.analyst.definition
        return {
            "symbols": sorted(self.symbols),
            "intervals": definition.intervals,
            "schema": definition.schema,
            "stream": str(self.stream.state),
            "waiting": self.history.waiting,
        }

    def metrics(self) -> AnalysisMetrics:
        """For Prometheus."""
        return AnalysisMetrics(
            {
                "candles": ("Closed candles analysed.", lambda: self.analyst.analysed),
                "seconds": ("Processor time spent analysing.", lambda: self.analyst.cpu_s),
                "rows": ("Rows stored in PostgreSQL.", lambda: self.history.written),
                "rest_requests": ("Pages of candles read over REST.", lambda: self.feed.rest_requests),
                "gaps": ("Candles that came with others missing before them.", lambda: self.feed.gaps),
                "disagreements": ("Values of longer candles that were not the exchange's.", lambda: self.disagreements),
                "reconnects": ("Connections that were lost.", lambda: self.stream.reconnects),
            },
            {
                "symbols": ("Symbols analysed.", lambda: len(self.symbols)),
                "waiting_rows": ("Rows that wait for PostgreSQL.", lambda: self.history.waiting),
                "stream_live": ("1 while the stream is live.", lambda: self.stream.live),
            },
        )


async def serve(settings: AnalysisSettings, stop: asyncio.Event, pulse: LoopPulse) -> None:
    """The whole life of the process. Raises Misconfigured or Retry, one sentence each, when it cannot start."""
    try:
        definition = read_definition(settings.analysis_file)
    except Misconfigured as fault:
        raise Misconfigured(f"ANALYSIS_FILE: {fault}") from None
    for interval in settings.analysis_alerts:
        if interval not in definition.intervals:
            raise Misconfigured(
                f"ANALYSIS_ALERTS names interval {interval}, which {settings.analysis_file.name} does not have: "
                f"{', '.join(definition.intervals)}."
            )
    links = RedisClients(settings)
    try:
        await _redis(links, stop, settings.analysis_start_wait_s)
        if stop.is_set():
            return
        process = AnalysisProcess(settings, links, definition)
        await process.check()
        registry = CollectorRegistry()
        registry.register(process.metrics())
        checks = {
            "stream": process.stream_fault,
            "redis": process.redis_fault,
            "postgres": process.postgres_fault,
            "candles": process.candles_fault,
        }
        health = HealthServer(settings, pulse, checks, registry, process.details)
        described = {interval: INTERVAL_MS[interval] // 60_000 for interval in definition.intervals}
        log.info("started", schema=definition.schema, minutes=described, health_port=health.port)
        try:
            await process.run(stop)
        finally:
            health.close()
    finally:
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
