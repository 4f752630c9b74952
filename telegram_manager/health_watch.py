"""Health watch: raises alerts for faults that nothing else reports, and keeps stopped bots stopped."""

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Sequence
from datetime import timedelta

from alpha.alerts import Alert, Alerts, Level
from alpha.errors import AlphaError
from alpha.logs import logger
from alpha.postgres.sql import queries
from bot_control import follows_desired_state
from operations.accounts import current_accounts
from operations.coins import named
from operations.context import Operations
from operations.control import STOP_GRACE_S
from operations.positions import balance
from operations.recovery import recovery
from operations.status import BotState, BotStatus, Status, status
from telegram_manager import watch_metrics

SQL = queries(__file__)

log = logger(__name__)
#: A problem must last this long before it is raised: restarts and reconnects pass.
PATIENCE_MS = 30_000
#: A lasting problem is raised again at this interval, so that the alert policy counts it and does not forget it.
AGAIN_MS = 10 * 60_000
BACKUP_LIMIT = timedelta(hours=26)
DISK_LOW = 0.05


#: Told the keys of problems that have ended, and when.
Ended = Callable[[Sequence[str], int], None]
#: Gives the keys of problems that this service raised, perhaps before a restart, and that are not over.
Known = Callable[[], Sequence[str]]
#: How the keys of each check begin.
_SLOW = ("drawdown:", "recovery-old", "backup-missing", "disk-low")
_QUICK = ("bot-down:", "guard:", "service-down:", "away:")


def nobody(keys: Sequence[str], now_ms: int) -> None:
    """Tell nobody."""


def nothing() -> Sequence[str]:
    """No problem."""
    return ()


class Debouncer:
    """Raises a problem once it has lasted for the patience, and again at intervals while it lasts."""

    def __init__(self, alerts: Alerts, patience_ms: int, ended: Ended = nobody, known: Known = nothing) -> None:
        """`ended` is told the keys of problems that were raised and are no longer found; `known` are those from before a restart."""
        self._known: Known | None = known
        self._alerts = alerts
        self._patience_ms = patience_ms
        self._ended = ended
        self._since_ms: dict[str, int] = {}
        self._raised_ms: dict[str, int] = {}

    async def told(self, found: list[Alert], now_ms: int, *, complete: bool = True) -> None:
        """Report all problems present at `now_ms`; any other has ended, unless not everything could be looked at."""
        keys = {alert.key for alert in found}
        if not complete:
            keys |= self._since_ms.keys()
        self._since_ms = {key: since for key, since in self._since_ms.items() if key in keys}
        raised = set(self._raised_ms)
        if complete and self._known is not None:
            raised |= set(self._known())
            self._known = None
        if gone := raised - keys:
            self._ended(sorted(gone), now_ms)
        self._raised_ms = {key: raised for key, raised in self._raised_ms.items() if key in keys}
        for alert in found:
            since = self._since_ms.setdefault(alert.key, now_ms)
            if now_ms - since >= self._patience_ms and now_ms - self._raised_ms.get(alert.key, -AGAIN_MS) >= AGAIN_MS:
                self._raised_ms[alert.key] = now_ms
                await self._alerts.raise_alert(alert, now_ms)


class HealthWatch:
    """Checks everything every few seconds. All times are wall-clock milliseconds."""

    def __init__(
        self,
        platform: Operations,
        alerts: Alerts,
        drawdown_pct: int,
        disk: str = "/",
        ended: Ended = nobody,
        known: Known = nothing,
    ) -> None:
        self._platform = platform
        self._drawdown_pct = drawdown_pct
        self._disk = disk
        self._quick = Debouncer(alerts, PATIENCE_MS, ended, lambda: [key for key in known() if key.startswith(_QUICK)])
        self._slow = Debouncer(alerts, 0, ended, lambda: [key for key in known() if key.startswith(_SLOW)])

    async def look(self) -> None:
        """The quick check: bots, their data, stops, desired states."""
        seen = await status(self._platform)
        watch_metrics.note_bots(seen)
        with contextlib.suppress(AlphaError):
            await watch_metrics.note_budget(self._platform)
        # problems are reported first; then each bot is handled independently: a slow stop delays no other
        await self._quick.told(troubles(seen), self._platform.wall_ms(), complete=judged(seen))
        await asyncio.gather(*(self._keep_wish(bot) for bot in seen.bots))

    async def look_around(self) -> None:
        """The slow check: drawdown, backups, disk. Unavailable parts are skipped."""
        found: list[Alert] = []
        complete = True
        for ask in (self._drawdowns, self._backups, self._recovery):
            try:
                found += await ask()
            except AlphaError as fault:
                log.warning("not_watched", fault=str(fault))
                complete = False
        try:
            usage = shutil.disk_usage(self._disk)
            watch_metrics.note_disk(usage)
        except OSError as fault:
            log.warning("disk_not_watched", fault=str(fault))
            complete = False
            usage = None
        if usage is not None and usage.free < usage.total * DISK_LOW:
            free = f"{usage.free / 2**30:.1f} GiB"
            found.append(
                Alert(Level.CRITICAL, "disk-low", f"Only {free} of disk are free.", "Delete old logs or images.")
            )
        await self._slow.told(found, self._platform.wall_ms(), complete=complete)

    async def _keep_wish(self, bot: BotStatus) -> None:
        """Stop a bot again that runs although its desired state is stopped (after `up -d` or a reboot)."""
        control, registry = self._platform.control, self._platform.registry
        wished = registry.find(bot.bot)
        if bot.wish != "stopped" or follows_desired_state(control, registry, wished):
            return  # a process that follows the desired state keeps it itself
        container = wished.container
        try:
            running = {process.container for process in await control.list() if process.running}
            # checked again: it may have been started since the status was read; a stop in progress needs no second one
            if container in running and await self._platform.history.value(SQL["is_long_stopped"], bot.bot):
                if await control.stop(container, STOP_GRACE_S):
                    log.info("stopped_by_wish", bot=bot.bot)
                if await self._platform.history.value(SQL["wish"], bot.bot) != "stopped":
                    await control.start(container)
        except AlphaError as fault:
            log.warning("wish_not_kept", bot=bot.bot, fault=str(fault))

    async def _drawdowns(self) -> list[Alert]:
        if not self._drawdown_pct:
            return []
        accounts = {account.bot: account.account_id for account in await current_accounts(self._platform)}
        found = []
        for row in await balance(self._platform):
            high = await self._platform.history.value(
                SQL["peak"],
                accounts.get(row.bot),
                row.coin,
            )
            if not high:
                continue
            fall = (1 - row.equity / high) * 100
            if fall >= self._drawdown_pct:
                text = f"{row.bot} is {fall:.1f} % below its high of the last 90 days ({high:,.2f} {row.coin})."
                key = named(f"drawdown:{row.bot}", row.coin)
                found.append(Alert(Level.WARNING, key, text, "Look at /analytics.", row.bot))
        return found

    async def _recovery(self) -> list[Alert]:
        found = await recovery(self._platform)
        watch_metrics.note_recovery(found)
        if found.well:
            return []
        return [Alert(Level.CRITICAL, "recovery-old", found.sentence, "pgBackRest says why in the log of PostgreSQL.")]

    async def _backups(self) -> list[Alert]:
        row = await self._platform.history.rows(SQL["last_backup"])
        good, since = row[0]["good"], row[0]["since"]
        now = self._platform.wall_now()
        watch_metrics.note_backup(good, since, now)
        if since is None or now - since < BACKUP_LIMIT or (good is not None and now - good < BACKUP_LIMIT):
            return []
        last = (
            "There is no successful backup yet"
            if good is None
            else f"The last good backup is of {good:%Y-%m-%d %H:%M} UTC"
        )
        return [Alert(Level.CRITICAL, "backup-missing", f"{last}.", "Look at the log of postgres_backup.")]


def judged(seen: Status) -> bool:
    """Whether everything could be looked at: a position of stale data may lack its stop although nothing says so."""
    return not seen.faults and all(bot.data == "synced" for bot in seen.bots)


def troubles(seen: Status) -> list[Alert]:
    """Return the problems in the status.

    A problem that the guard also reports has the guard's key: it is notified once, whoever sees it first.
    """
    found: list[Alert] = []
    for bot in seen.bots:
        if bot.state is BotState.STOPPED and bot.wish not in ("stopped", "unknown"):
            found.append(Alert(Level.CRITICAL, f"bot-down:{bot.bot}", f"{bot.bot} does not run.", bot.note, bot.bot))
        elif bot.state is BotState.UNHEALTHY:
            found.append(
                Alert(Level.CRITICAL, f"guard:heartbeat:{bot.bot}", f"{bot.bot} is unhealthy.", bot.note, bot.bot)
            )
        # in an announced maintenance the exchange is away for everybody, and the listener has told so
        if bot.data in ("stale", "down") and not seen.maintenance.ongoing:
            text = f"The live data of {bot.bot} is {bot.data}."
            found.append(
                Alert(Level.WARNING, f"guard:data:{bot.bot}", text, "Look at the log of websocket_listener.", bot.bot)
            )
        for position in bot.positions:
            if position.stop_loss is None and position.true:
                text = f"{bot.bot} holds {position.direction} {position.size} {position.symbol} without a stop."
                remedy = f"The guard sets one; else /flatten {bot.bot} {position.symbol}."
                found.append(Alert(Level.CRITICAL, f"guard:stop:{bot.bot}:{position.symbol}", text, remedy, bot.bot))
    for service in seen.services:
        if service.state != "running" or service.healthy is False:
            text = f"{service.service} is not well: {service.detail}."
            found.append(Alert(Level.CRITICAL, f"service-down:{service.service}", text, "Look at its log and /health."))
    # a fault begins with the name of what is unavailable
    found += [Alert(Level.CRITICAL, f"away:{fault.split()[0].lower()}", fault) for fault in seen.faults]
    return found
