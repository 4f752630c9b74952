"""The service: a daily backup, a weekly rehearsal, an alert when one fails, unhealthy while none is recent."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from alpha.alerts import Alert, Alerts, Level
from alpha.clock import is_set_within
from alpha.errors import AlphaError
from alpha.logs import logger
from alpha.model.timestamp import ms_of
from alpha.postgres.database import POSTGRES_ERRORS, connect
from alpha.postgres.schema import needed, present
from alpha.postgres.sql import queries
from database.backup.dump import take
from database.backup.encryption import DRILL_EVERY, encrypt, last_drill, run_hook
from database.backup.restore import rehearse
from database.backup.retention import Backup, BackupStore, due_at
from database.backup.settings import BackupSettings

SQL = queries(__file__)

log = logger(__name__)
SERVICE = "postgres_backup"
SCHEMA_PAUSE_S = 1.0
#: How long the database may take to answer at the start: on several hosts its name is known only once it is healthy.
STARTS_WITHIN = timedelta(minutes=2)
#: How long a schema may stay behind this image before it is taken as it is.
STEADY = timedelta(seconds=30)
AGAIN_AFTER = timedelta(minutes=15)
#: One day between backups, plus two hours to take one.
TOO_OLD = timedelta(hours=26)


def wall_clock() -> datetime:
    """The time, aware UTC."""
    return datetime.now(UTC)


class BackupService:
    """Takes the backups that are due until it is stopped."""

    def __init__(
        self, settings: BackupSettings, alerts: Alerts | None = None, now: Callable[[], datetime] = wall_clock
    ) -> None:
        self._settings = settings
        self._alerts = alerts
        self._now = now
        self._fault: str | None = None
        self.shelves = BackupStore(settings.backup_dir)

    async def run(self, stop: asyncio.Event) -> None:
        """Take due backups until `stop` is set. Retries a failure after 15 minutes."""
        self.shelves.prepare()
        await self._wait_for_schema(stop)
        while not stop.is_set():
            newest = self.shelves.newest()
            wait = due_at(newest.taken_at if newest else None, self._now(), self._settings.backup_at) - self._now()
            if wait <= timedelta(0):
                if await self.once():
                    continue
                wait = AGAIN_AFTER
            await is_set_within(stop, wait.total_seconds())

    async def _wait_for_schema(self, stop: asyncio.Event) -> None:
        """Wait while `migrate` is at work: on a fresh host both start together, and pg_dump fails beside a migration.

        A schema that is older than this image's and does not change for STEADY is backed up as it is.
        """
        wanted, seen, since, began = needed(SERVICE), 0, self._now(), self._now()
        while not stop.is_set():
            try:
                found = await present(self._settings)
            except AlphaError:
                if self._now() - began >= STARTS_WITHIN:
                    break  # the backup itself fails with its reason
                found = 0
            if found != seen:
                seen, since = found, self._now()
            if found >= wanted or (found > 0 and self._now() - since >= STEADY):
                break
            self._fault = "The database has no schema yet. Run 'alpha upgrade', or see: docker compose logs migrate."
            await is_set_within(stop, SCHEMA_PAUSE_S)
        self._fault = None

    async def once(self) -> bool:
        """Take one backup with its follow-up steps; True when it is good. Never raises for an expected error."""
        started = self._now()
        first_of_week = self.shelves.first_of_week(started)
        try:
            backup = await take(self._settings, self.shelves, started)
        except AlphaError as fault:
            await self._failed("backup", started, str(fault))
            return False
        # what is encrypted nobody here can read: it is rehearsed before, every night
        if self._settings.recipients():
            if not await self._rehearse(backup):
                return False
            try:
                backup = await encrypt(self._settings, self.shelves, backup)
            except AlphaError as fault:
                await self._failed("backup", started, f"It is good, but not encrypted: {fault}")
                return False
            first_of_week = False
        gone = self.shelves.clear(self._settings.kept())
        await self._record("backup", started, True, f"{len(gone)} old ones removed.", backup)
        log.info("backup_taken", file=backup.name, bytes=backup.path.stat().st_size, removed=len(gone))
        self._fault = None
        await self._well("backup")
        if first_of_week:
            await self._rehearse(backup)
        await self._copy(backup, started)
        await self._remind(started)
        return True

    async def _copy(self, backup: Backup, started: datetime) -> None:
        """Have the operator's program copy the backup elsewhere; one that fails leaves a good backup here."""
        try:
            if await run_hook(self._settings, backup):
                await self._record("copy", started, True, "BACKUP_HOOK has copied it.", backup)
        except AlphaError as fault:
            await self._failed("copy", started, str(fault))
        else:
            await self._well("copy")

    async def _remind(self, now: datetime) -> None:
        """Encrypted backups are worth what the operator's key can read of them: a month without a drill is told."""
        if not self._settings.recipients() or self._alerts is None:
            return
        drilled = last_drill(self.shelves)
        if drilled is not None and now - drilled < DRILL_EVERY:
            await self._well("drill")
            return
        when = "never" if drilled is None else f"on {drilled:%Y-%m-%d}"
        text = (
            f"The encrypted backups were last read with your key {when}; once a month proves that the key still fits."
        )
        remedy = "postgres_backup drill latest --identity FILE"
        await self._alerts.raise_alert(
            Alert(Level.WARNING, "backup-drill", text, remedy, lasting=True), ms_of(self._now())
        )

    async def _rehearse(self, backup: Backup) -> bool:
        started = self._now()
        try:
            rows = await rehearse(self._settings, backup)
        except AlphaError as fault:
            await self._failed("rehearsal", started, str(fault))
            return False
        await self._record("rehearsal", started, True, f"{rows} rows restored; all counts and sums are equal.", backup)
        await self._well("rehearsal")
        log.info("backup_rehearsed", file=backup.name, rows=rows)
        return True

    async def _well(self, kind: str) -> None:
        if self._alerts is not None:
            await self._alerts.resolve(f"backup-{kind}", ms_of(self._now()))

    async def _failed(self, kind: str, started: datetime, sentence: str) -> None:
        self._fault = f"The {kind} of {started:%Y-%m-%d %H:%M} UTC failed: {sentence}"
        log.error("backup_failed", kind=kind, fault=sentence)
        await self._record(kind, started, False, sentence, None)
        if self._alerts is not None:
            remedy = "Look at the log of postgres_backup."
            alert = Alert(Level.CRITICAL, f"backup-{kind}", self._fault, remedy, lasting=True)
            await self._alerts.raise_alert(alert, ms_of(self._now()))

    async def _record(self, kind: str, started: datetime, ok: bool, detail: str, backup: Backup | None) -> None:
        """Record the result in the database, if it answers; it is logged in any case."""
        try:
            connection = await connect(self._settings, "postgres_backup")
        except AlphaError:
            return
        try:
            await connection.execute(
                SQL["record"],
                kind,
                started,
                ok,
                backup.name if backup else None,
                backup.path.stat().st_size if backup else None,
                detail,
            )
        except POSTGRES_ERRORS as fault:
            log.error("backup_not_recorded", fault=str(fault))
        finally:
            await connection.close()

    def fault(self) -> str | None:
        """The current fault for the health check: the last failure, or no recent backup."""
        if self._fault is not None:
            return self._fault
        newest = self.shelves.newest()
        if newest is None:
            return "There is no backup yet."
        if self._now() - newest.taken_at > TOO_OLD:
            return f"The newest backup is of {newest.taken_at:%Y-%m-%d %H:%M} UTC, more than 26 hours ago."
        return None
