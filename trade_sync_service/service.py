"""The service: syncs every bot hourly and independently, so that one bot's failure never affects another."""

import asyncio
from datetime import timedelta

from alpha.alerts import Alert, Level
from alpha.clock import SYSTEM_CLOCK, Backoff, Clock, wall_ms
from alpha.errors import AlphaError, Misconfigured, Retry
from alpha.health import HealthServer
from alpha.live_state.maintenance import in_maintenance
from alpha.logs import logger
from alpha.postgres.drift import keep_drift
from alpha.process import LoopPulse, end_tasks
from alpha.registry import Bot
from trade_sync_service.account import AccountSync, RunResult
from trade_sync_service.alert_archive import AlertArchive
from trade_sync_service.context import AccountSession, ServiceContext
from trade_sync_service.domain.coverage import Interval
from trade_sync_service.metrics import Metrics
from trade_sync_service.progress import LoggedProgress, Progress
from trade_sync_service.reconciliation import reconcile_account
from trade_sync_service.settings import DAY_MS, HOUR_MS, SyncSettings

log = logger(__name__)
#: Pauses after failed runs, doubling; and after an error that only the operator can fix.
BACKOFF = Backoff(5.0, 60.0)
#: A transient error raises an alert once it has lasted this many runs.
RUNS_BEFORE_ALERT = 4
#: How far back a run looks for snapshots of equity to thin: longer than a run may fail without a restart.
ROLL_UP_BACK = timedelta(days=14)


class Service:
    """All bots of one process."""

    def __init__(
        self,
        house: ServiceContext,
        metrics: Metrics,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._house = house
        self._metrics = metrics
        self._clock = clock
        #: Message of each bot's last error; None after a successful run.
        self.faults: dict[str, str | None] = {}
        self.last_success_s: dict[str, float] = {}
        #: Bots whose last run failed because of their key: missing, refused or of another account.
        self._own_fault: set[str] = set()
        #: Bots whose snapshots of equity were thinned from the first on.
        self._rolled_up: set[str] = set()

    def sync_fault(self) -> str | None:
        """A message when the last run of every bot failed; a bot's bad key does not make the service unhealthy."""
        faults = [fault for bot, fault in self.faults.items() if bot not in self._own_fault]
        return faults[0] if faults and all(faults) else None

    def details(self) -> dict[str, object]:
        """Additional details for /healthz."""
        return {"faults": dict(self.faults), "last_success": dict(self.last_success_s)}

    async def run(self) -> None:
        """Sync all bots until cancelled."""
        async with asyncio.TaskGroup() as group:
            for bot in self._house.registry.bots:
                group.create_task(self._keep(bot))

    async def _keep(self, bot: Bot) -> None:
        failed, told = 0, False
        while True:
            try:
                result = await self.once(bot)
            except Misconfigured as fault:
                failed += 1
                self._note(bot, fault, own=True)
                if failed == 1:
                    await self._tell(bot, fault, Level.WARNING)
                pause_s = min(BACKOFF.most_s, self._house.settings.sync_interval_s)
            except AlphaError as fault:
                failed += 1
                self._note(bot, fault, own=False)
                # in an announced maintenance the exchange is away for everybody; what stays afterwards is told then
                if failed >= RUNS_BEFORE_ALERT and not told and not await in_maintenance(self._house.redis.shared):
                    told = True
                    await self._tell(bot, fault, Level.WARNING)
                pause_s = BACKOFF.pause_s(failed, self._clock.random())
                if isinstance(fault, Retry) and fault.after_s is not None:
                    pause_s = max(pause_s, fault.after_s)
            else:
                failed, told = 0, False
                await self._house.alerts.resolve(f"sync-failed:{bot.id}", self._clock.wall_ms(), bot=bot.id)
                self.faults[bot.id] = None
                self._own_fault.discard(bot.id)
                self.last_success_s[bot.id] = self._clock.wall_ms() / 1000
                self._metrics.ran(bot.id, result, self._clock.wall_ms() / 1000)
                pause_s = self._house.settings.sync_interval_s
            await self._clock.sleep(pause_s)

    async def once(self, bot: Bot) -> RunResult:
        """Run once for one bot: read, then reconcile the last days."""
        settings = self._house.settings
        async with self._house.link(bot) as link:
            result = await sync_of(link, self._house, LoggedProgress()).run(history_days=settings.sync_history_days)
            now_ms = await link.gateway.server_time_ms()
            span = Interval(now_ms - settings.reconcile_days * DAY_MS, now_ms)
            report = await reconcile_account(link, self._house, span)
            self._metrics.differences(bot.id, report.open)
            await self._roll_up(link)
        log.info(
            "synced",
            bot=bot.id,
            rows_read=result.rows_read,
            rows_new=result.rows_new,
            joined=result.joined,
            closes_left=result.closes_left,
            differences=report.open,
        )
        return result

    async def _roll_up(self, link: AccountSession) -> None:
        """Thin old snapshots of equity; all of them once per process, then what a run or two left. Never fails a run."""
        try:
            gone = await link.store.roll_up_equity(ROLL_UP_BACK if link.bot.id in self._rolled_up else None)
        except AlphaError as fault:
            log.warning("equity_not_rolled_up", bot=link.bot.id, why=str(fault))
            return
        self._rolled_up.add(link.bot.id)
        if gone:
            log.info("equity_rolled_up", bot=link.bot.id, rows=gone)

    def _note(self, bot: Bot, fault: AlphaError, *, own: bool) -> None:
        self.faults[bot.id] = str(fault)
        (self._own_fault.add if own else self._own_fault.discard)(bot.id)
        self._metrics.failed(bot.id)
        log.warning("sync_failed", bot=bot.id, why=str(fault))

    async def _tell(self, bot: Bot, fault: AlphaError, level: Level) -> None:
        await self._house.alert(
            Alert(
                level,
                f"sync-failed:{bot.id}",
                f"The trade sync of {bot.id} does not get on: {fault}",
                "",
                bot.id,
                lasting=True,
            )
        )


def sync_of(link: AccountSession, house: ServiceContext, progress: Progress) -> AccountSync:
    """The sync of one connected bot, configured from the settings."""
    settings = house.settings
    return AccountSync(
        link.gateway,
        link.store,
        progress,
        house.alert,
        overlap_ms=settings.sync_overlap_hours * HOUR_MS,
        windows_at_once=settings.sync_windows_at_once,
    )


async def serve(settings: SyncSettings, stop: asyncio.Event, pulse: LoopPulse) -> None:
    """Run the service until `stop` is set. A run in progress is recorded as interrupted and read again next time."""
    house = ServiceContext(settings)
    service = Service(house, Metrics())
    archive = AlertArchive(house.redis.shared, settings)
    checks = {"sync": service.sync_fault, "alerts": archive.fault}
    health = HealthServer(settings, pulse, checks, details=service.details)
    log.info("started", port=health.port, bots=[bot.id for bot in house.registry.bots], at_ms=wall_ms())
    work, archiving = asyncio.create_task(service.run()), asyncio.create_task(archive.run())
    drift = asyncio.create_task(keep_drift(settings, "trade_sync_service"))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            await work
    finally:
        await end_tasks([work, archiving, drift, stopping])
        health.close()
        await house.close()
