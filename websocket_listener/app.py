"""The listener's process: wiring, start, and an orderly end."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import asyncpg
from prometheus_client import CollectorRegistry
from redis.exceptions import RedisError

from alpha.alert_batcher import AlertBatcher
from alpha.alerts import Alert, Alerts, Level
from alpha.bybit.client import market_gateway
from alpha.bybit.connect_budget import ConnectBudget
from alpha.bybit.hosts import hosts_of
from alpha.bybit.rate_limiter import RateLimiter
from alpha.clock import wall_ms
from alpha.config.keys import BotKeys, load_reading_keys
from alpha.errors import Misconfigured, Retry
from alpha.health import HealthServer
from alpha.lease import Act
from alpha.live_state.connect import RedisClients
from alpha.logs import logger
from alpha.postgres.database import Pool, create_pool
from alpha.postgres.drift import keep_drift
from alpha.postgres.fills import Fill
from alpha.postgres.rejected import RejectedMessage, RejectedMessages
from alpha.process import LoopPulse
from alpha.registry import Bot, load_registry
from websocket_listener.account_recorder import Shared
from websocket_listener.audit_schedule import AuditSchedule
from websocket_listener.bot import BotListener
from websocket_listener.lease import Leases, always
from websocket_listener.maintenance import MaintenanceWatch
from websocket_listener.metrics import ListenerMetrics
from websocket_listener.postgres_writer import PostgresWriter
from websocket_listener.public import PublicFeed, PublicWrites
from websocket_listener.rows import OrderRow
from websocket_listener.settings import ListenerSettings
from websocket_listener.sharing import Sharing
from websocket_listener.tickers import Tickers

log = logger(__name__)
T = TypeVar("T")

#: How long an end may take to commit what has arrived.
DRAIN_S = 5.0
#: Reconnecting, with its pauses, may take so long before it counts as ill health.
EXCHANGE_AWAY_S = 60.0


class Listener:
    """Everything of one process, wired."""

    def __init__(self, settings: ListenerSettings, links: RedisClients, pool: Pool) -> None:
        self._settings = settings
        self._links = links
        self.alerts = Alerts(links.shared, "websocket_listener")
        self.grouped = AlertBatcher(self.alerts)
        self.rejected = RejectedMessages(pool, self.grouped, "The executions are read again over REST.")
        self.database = PostgresWriter(
            pool, settings.listener_buffer_rows, dropped=self._dropped, refused=self._row_refused
        )
        self.market = Tickers(links.shared, lambda: self._may_write_public())
        registry = load_registry(settings.alpha_bots_file)
        throttle = RateLimiter(links.shared, egress=settings.alpha_egress, bots=len(registry.bots))
        budget = ConnectBudget(redis=links.shared, egress=settings.alpha_egress)
        keyed: list[tuple[Bot, BotKeys]] = []
        for bot in registry.bots:
            try:
                keyed.append((bot, load_reading_keys(bot)))
            except Misconfigured as fault:
                log.info("bot_left_out", bot=bot.id, why=str(fault))
        if not keyed:
            variables = ", ".join(bot.read_key_variable for bot in registry.bots)
            raise Misconfigured(f"No bot has a key, so there is nothing to listen to. Set at least one of {variables}.")
        self.leases = Leases(settings, self._waits)
        self.sharing = (
            Sharing(self.leases.questions, self.leases.name, lambda: self.bots) if settings.listener_share else None
        )
        shared = Shared(
            *(settings, pool, throttle, budget, self.database, self.rejected, self.alerts, self.grouped),
            self.market.marks,
            self.leases,
            AuditSchedule(len(keyed), settings.listener_audit_s),
            self.market.drawdowns,
            always if self.sharing is None else self.sharing.attempt,
        )
        self.recorders = shared.recorders
        self.bots = [
            BotListener(bot, bot_keys, hosts_of(settings, bot_keys), links, shared, place)
            for place, (bot, bot_keys) in enumerate(keyed)
        ]
        public_hosts = hosts_of(settings, keyed[0][1])
        self._market_gateway = market_gateway(public_hosts, throttle)
        self.public = PublicFeed(
            *(public_hosts, settings, budget, links.shared, self._market_gateway, self.market, self.rejected),
            PublicWrites(self._may_write_public, None if self.sharing is None else lambda: self.leases.writes_public),
        )
        self.maintenance = MaintenanceWatch(
            public_hosts, settings, budget, links.shared, self._market_gateway, self.alerts, self._may_write_public
        )
        self.public.listen_for([(bot, links.of(bot.bot)) for bot in self.bots], self.recorders)
        self._redis_run = ""
        self._redis_seen_s = time.monotonic()
        self._exchange_seen_s = time.monotonic()

    async def _may_write_public(self) -> None:
        if self.sharing is None:
            await self.leases.public.ready(Act.REDUCE)
        else:
            await self.leases.may_write_public()

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until `stop` is set, then commit what has arrived.

        While another listener listens, wait; or take a part of the accounts, where listeners share them.
        """
        if self.sharing is None and not await self.leases.take_public(stop):
            return
        self._redis_seen_s = self._exchange_seen_s = time.monotonic()
        jobs = [self.database.run(), self.rejected.run(), self.grouped.run()]
        jobs.append(keep_drift(self._settings, "websocket_listener"))
        if self.sharing is None:
            jobs.append(self.leases.public.keep())
        else:
            jobs += [self.sharing.run(), self.leases.hold_public(self.public.lost)]
        stores = [asyncio.create_task(job) for job in jobs]
        work = asyncio.create_task(self._work())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({work, stopping, *stores}, return_when=asyncio.FIRST_COMPLETED)
            for task in (work, *stores):
                if task.done():
                    await task
        finally:
            stopping.cancel()
            for recorder in self.recorders.values():
                recorder.quit()
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_S):
                    await asyncio.gather(
                        *(self.database.drained(), self.rejected.drained(), self.grouped.tell(all_of_it=True)),
                        *(recorder.live.flushed() for recorder in self.recorders.values()),
                    )
            if len(self.database):
                log.warning("not_committed", rows=len(self.database), why="they are read again at the next start")
            for task in (work, *stores):
                task.cancel()
            # what cannot be ended in time is ended with the process
            ended, _ = await asyncio.wait({work, *stores}, timeout=1.0)
            for task in ended:
                # several may have failed of one cause; the first was raised
                if not task.cancelled():
                    task.exception()
            gateways = (self._market_gateway, *(bot.gateway for bot in self.bots))
            await asyncio.wait([asyncio.ensure_future(gateway.close()) for gateway in gateways], timeout=1.0)
            leases = [self.leases.public, *(recorder.lease for recorder in self.recorders.values())]
            await asyncio.gather(*(lease.give_back() for lease in leases))
            if self.sharing is not None:
                await self.sharing.leave()
            await self.leases.close()

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.public.run())
            tasks.create_task(self.maintenance.run())
            tasks.create_task(self._watch_redis())
            tasks.create_task(self._watch_exchange())
            for bot in self.bots:
                tasks.create_task(bot.run())

    async def _watch_redis(self) -> None:
        """Notice a restart of Redis that no write has noticed: it may have forgotten the last second."""
        while True:
            try:
                run = str((await self._links.shared.info("server"))["run_id"])
                self._redis_seen_s = time.monotonic()
                if self._redis_run and run != self._redis_run:
                    for recorder in self.recorders.values():
                        recorder.live.lose("Redis was restarted")
                    self.public.lost()
                self._redis_run = run
                await self.alerts.flush()
            except (RedisError, OSError, TimeoutError):
                pass
            await asyncio.sleep(0.5)

    async def _watch_exchange(self) -> None:
        """Record when the exchange last answered for any bot. A refused key does not count as an outage."""
        while True:
            allowed = [bot for bot in self.bots if not bot.status.refused]
            if self.sharing is not None:
                allowed = [bot for bot in allowed if bot.recorded_here]
            if not allowed or any(bot.status.connected for bot in allowed):
                self._exchange_seen_s = time.monotonic()
            await asyncio.sleep(0.5)

    async def _waits(self, holder: str) -> None:
        bots = ", ".join(bot.bot.id for bot in self.bots)
        await self.alerts.raise_alert(
            Alert(
                Level.WARNING,
                "listener:waits",
                f"A second listener waits for the first one ({holder}).",
                f"If that one does not listen for {bots}, end it; else end this one, or keep it as a spare.",
            ),
            wall_ms(),
        )

    def _dropped(self, account_id: int) -> None:
        for recorder in self.recorders.values():
            if recorder.account.id == account_id:
                recorder.rows_dropped()

    async def _row_refused(self, row: Fill | OrderRow, fault: str) -> None:
        self.rejected.put(RejectedMessage("PostgreSQL", repr(row), fault, row.account_id, row.bot_id))

    # -- health -------------------------------------------------------------------------------------------------

    def database_fault(self) -> str | None:
        """A sentence while PostgreSQL has not answered, or not taken rows, for too long."""
        since = [
            since_s for since_s in (self.database.failing_since_s, self.leases.away_since_s) if since_s is not None
        ]
        away_s = time.monotonic() - min(since) if since else 0.0
        if away_s < self._settings.listener_away_s:
            return None
        return f"PostgreSQL has taken nothing for {away_s:.0f} s; {len(self.database)} rows wait."

    def redis_fault(self) -> str | None:
        """A sentence while Redis has not answered for too long."""
        away_s = 0.0 if self.leases.waiting_since_s is not None else time.monotonic() - self._redis_seen_s
        return f"Redis has not answered for {away_s:.0f} s." if away_s > self._settings.listener_away_s else None

    def exchange_fault(self) -> str | None:
        """A sentence while no bot has been connected for too long; one bot's refused key is its own trouble."""
        away_s = 0.0 if self.leases.waiting_since_s is not None else time.monotonic() - self._exchange_seen_s
        return f"No bot has been connected for {away_s:.0f} s." if away_s > EXCHANGE_AWAY_S else None

    def details(self) -> dict[str, object]:
        """Current data state of each bot."""
        if self.leases.waiting_since_s is not None:
            return {"waiting": "Another listener listens; this one takes over when it has ended."}
        return {bot.bot.id: self._details_of(bot) for bot in self.bots}

    def _details_of(self, bot: BotListener) -> dict[str, str]:
        if self.sharing is not None and not bot.recorded_here:
            return {"state": "recorded by another listener"}
        recorder = self.recorders.get(bot.bot.id)
        return {
            "state": str(bot.status.state()),
            "why": bot.status.why(),
            "stream": "" if recorder is None else str(recorder.stream.state),
            "history": "" if recorder is None else recorder.backfill.progress,
            "unread": f"{bot.status.unread}, {bot.status.unread_lost} of them only counted",
        }


def spare_collector() -> None:
    """Let the garbage collector look at what is new, and seldom: rows that wait are many, live shortly and hold no cycles.

    With its usual thresholds it takes a quarter of the processor time of a fill.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


async def serve(settings: ListenerSettings, stop: asyncio.Event, pulse: LoopPulse) -> None:
    """The whole life of the process. Raises Misconfigured or Retry, one sentence each, when it cannot start."""
    links = RedisClients(settings)
    try:
        await _patiently(links.check, stop, settings.listener_start_wait_s)
        pool: Pool = await _patiently(
            lambda: create_pool(settings, "websocket_listener", max_size=6), stop, settings.listener_start_wait_s
        )
        if stop.is_set():
            return
        try:
            listener = Listener(settings, links, pool)
            registry = CollectorRegistry()
            registry.register(
                ListenerMetrics(
                    *(listener.bots, listener.recorders, listener.database, listener.rejected, listener.public)
                )
            )
            health = HealthServer(
                settings,
                pulse,
                {
                    "database": listener.database_fault,
                    "redis": listener.redis_fault,
                    "exchange": listener.exchange_fault,
                },
                registry,
                listener.details,
            )
            spare_collector()
            log.info("started", bots=[bot.bot.id for bot in listener.bots], health_port=health.port)
            try:
                await listener.run(stop)
            finally:
                health.close()
        finally:
            with suppress(TimeoutError, asyncpg.InterfaceError, OSError):
                async with asyncio.timeout(1.0):
                    await pool.close()
    finally:
        await links.close()


async def _patiently(attempt: Callable[[], Awaitable[T]], stop: asyncio.Event, wait_s: float) -> T:
    """The result of `attempt`, retried for a while if a store is not available yet."""
    deadline_s = time.monotonic() + wait_s
    while True:
        try:
            return await attempt()
        except Retry:
            if time.monotonic() > deadline_s or stop.is_set():
                raise
            await asyncio.sleep(0.5)
