"""Copies the alert stream of Redis to `audit.alerts`: every alert once, by the id of its stream entry.

This is the only writer of the table. The stream keeps the newest 10,000 alerts, so that an outage of PostgreSQL or of
this service delays a row but loses none.
"""

import asyncio
import re
import time

from alpha.alerts import OVER
from alpha.config.services import DatabaseSettings
from alpha.errors import AlphaError
from alpha.live_state import keys
from alpha.live_state.client import Entries, TextRedis
from alpha.live_state.connect import REDIS_UNAVAILABLE
from alpha.logs import logger
from alpha.model.timestamp import at
from alpha.postgres.database import POSTGRES_ERRORS, Connection, connect, explained
from alpha.postgres.sql import queries

SQL = queries(__file__)

log = logger(__name__)
BATCH = 500
BLOCK_MS = 1_000
PAUSE_S = 2.0
#: Unhealthy after this long without a successful pass.
LATE_S = 300.0
_LEVELS = {"info", "warning", "error", "critical"}
#: PostgreSQL refuses NUL, UTF-8 refuses unpaired surrogates.
_UNFIT = re.compile("[\x00\ud800-\udfff]")


class AlertArchive:
    """Follows the stream from the newest stored alert on."""

    def __init__(self, redis: TextRedis, settings: DatabaseSettings) -> None:
        self._redis = redis
        self._settings = settings
        self._connection: Connection | None = None
        self._position = ""
        self._well_s = time.monotonic()
        self._fault = ""

    def fault(self) -> str | None:
        """Why alerts have not been stored for five minutes; None while they are."""
        late_s = time.monotonic() - self._well_s
        return None if late_s < LATE_S else f"Alerts have not been stored for {late_s:.0f} s: {self._fault}"

    async def run(self) -> None:
        """Copy until cancelled; outages are waited out."""
        try:
            while True:
                try:
                    await self.step(BLOCK_MS)
                    self._well_s, self._fault = time.monotonic(), ""
                except (AlphaError, *REDIS_UNAVAILABLE) as fault:
                    await self._failed(str(fault))
                except Exception as fault:
                    # one alert that nobody foresaw must not end the archive
                    log.exception("unforeseen_fault", name="alert archive")
                    await self._failed(type(fault).__name__)
        finally:
            await self.close()

    async def step(self, block_ms: int) -> int:
        """Store the next alerts, waiting up to `block_ms` for one; returns how many entries were read.

        Raises Retry or Misconfigured for PostgreSQL, and Redis errors.
        """
        if not self._position:
            self._position = await self._newest() or "0-0"
        answer = await self._redis.xread({keys.ALERTS: self._position}, count=BATCH, block=block_ms)
        entries = answer[0][1] if answer else []
        if not entries:
            await self._begin_again_after_a_reset()
            return 0
        await self._store(entries)
        self._position = entries[-1][0]
        return len(entries)

    async def close(self) -> None:
        """Close the connection to PostgreSQL."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.terminate()

    async def _begin_again_after_a_reset(self) -> None:
        """A stream that ends before our position is another one (Redis was emptied and the clock set back): read it whole."""
        newest = await self._redis.xrevrange(keys.ALERTS, count=1)
        if newest and _order(newest[0][0]) < _order(self._position):
            self._position = "0-0"

    async def _failed(self, fault: str) -> None:
        if fault != self._fault:
            log.warning("alerts_not_stored", fault=fault)
        self._fault = fault
        await self.close()
        await asyncio.sleep(PAUSE_S)

    async def _newest(self) -> str | None:
        connection = await self._open()
        try:
            found: str | None = await connection.fetchval(SQL["newest"])
            return found
        except POSTGRES_ERRORS as fault:
            raise explained(fault, self._settings) from fault

    async def _store(self, entries: Entries) -> None:
        # the end of trouble is no alert
        rows = [_row(entry_id, fields) for entry_id, fields in entries if fields.get("level") != OVER]
        if not rows:
            return
        connection = await self._open()
        try:
            await connection.execute(SQL["insert"], *(list(column) for column in zip(*rows, strict=True)), timeout=20.0)
        except POSTGRES_ERRORS as fault:
            raise explained(fault, self._settings) from fault

    async def _open(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._settings, "alert_archive")
        return self._connection


def _row(entry_id: str, fields: dict[str, str]) -> tuple[object, ...]:
    """One row; a field that is missing or unreadable never keeps an alert from being stored."""

    def text(name: str) -> str:
        return _UNFIT.sub("\ufffd", fields.get(name, ""))

    raised = fields.get("raised_ms", "")
    ms = int(raised) if raised.isascii() and raised.isdigit() and len(raised) <= 14 else _order(entry_id)[0]
    level = text("level") if text("level") in _LEVELS else "warning"
    return (entry_id, at(ms), level, text("service"), text("bot") or None, text("key"), text("text"), text("remedy"))


def _order(entry_id: str) -> tuple[int, int]:
    """The position of a stream id: milliseconds and sequence number."""
    ms, _, sequence = entry_id.partition("-")
    return int(ms), int(sequence or 0)
