"""Messages that cannot be read: kept whole in `audit.rejected_messages`, with an alert."""

import asyncio
from collections import deque
from dataclasses import dataclass

from alpha.alerts import Alert, Alerts, Level
from alpha.clock import wall_ms
from alpha.db.pool import Pool
from alpha.logs import logger
from websocket_listener.store import DATABASE_FAULTS, insert_rejected
from websocket_listener.writer import passes

log = logger(__name__)

#: So many wait while PostgreSQL is away; of a storm the newest are kept.
_MOST_WAITING = 500
_MOST_CHARACTERS = 1_000_000


@dataclass(frozen=True, slots=True)
class RejectedMessage:
    """One message, whole, and what is wrong with it. `source` names the connection or the call."""

    source: str
    message: str
    fault: str
    account_id: int | None = None
    bot_id: str | None = None
    topic: str | None = None


class RejectedMessages:
    """Takes messages without waiting and stores them in the background."""

    def __init__(self, pool: Pool, alerts: Alerts) -> None:
        self.count = 0
        self.lost = 0
        self._pool = pool
        self._alerts = alerts
        self._waiting: deque[RejectedMessage] = deque(maxlen=_MOST_WAITING)
        self._wake = asyncio.Event()

    def put(self, rejected: RejectedMessage) -> None:
        """Keep this message."""
        self.count += 1
        if len(self._waiting) == _MOST_WAITING:
            self.lost += 1
        self._waiting.append(rejected)
        self._wake.set()

    async def run(self) -> None:
        """Store until cancelled; while PostgreSQL is away they wait."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                rejected = self._waiting[0]
                try:
                    await self._store(rejected)
                except (*DATABASE_FAULTS, ValueError) as fault:
                    if passes(fault):
                        await asyncio.sleep(1.0)
                        continue
                    # what cannot be stored as it is must not hold up the others; it stands in the log
                    self.lost += 1
                    log.warning("rejected_message_not_stored", fault=str(fault), message=rejected.message[:2_000])
                if self._waiting and self._waiting[0] is rejected:
                    self._waiting.popleft()

    async def _store(self, rejected: RejectedMessage) -> None:
        async with self._pool.acquire(timeout=5.0) as connection:
            await insert_rejected(
                connection,
                source=rejected.source,
                account_id=rejected.account_id,
                bot_id=rejected.bot_id,
                topic=rejected.topic,
                fault=rejected.fault[:2_000],
                message=rejected.message[:_MOST_CHARACTERS],
            )
        await self._alerts.raise_alert(
            Alert(
                Level.WARNING,
                f"rejected:{rejected.source}:{rejected.bot_id or ''}",
                f"A message of the exchange could not be read: {rejected.fault[:300]}",
                "It is in audit.rejected_messages, whole; the executions are read again over REST.",
                rejected.bot_id or "",
            ),
            wall_ms(),
        )


def as_text(frame: str | bytes) -> str:
    """A frame as text, whatever it holds."""
    return frame if isinstance(frame, str) else frame.decode("utf-8", "backslashreplace")
