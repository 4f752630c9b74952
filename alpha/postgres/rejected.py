"""Messages that cannot be read: kept whole in `audit.rejected_messages`, with an alert for each kind at a time."""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from alpha.alert_batcher import AlertBatcher
from alpha.alerts import Alert, Level
from alpha.logs import logger
from alpha.postgres.database import POSTGRES_ERRORS, Connection, Pool, passes

log = logger(__name__)

#: So much may wait while PostgreSQL is away; of a storm the newest are kept.
_MOST_WAITING = 5_000
_MOST_CHARACTERS_WAITING = 16_000_000
#: So many are stored in one transaction.
_BATCH = 100
_MOST_CHARACTERS = 1_000_000


class RejectedRow(NamedTuple):
    """One row of `audit.rejected_messages`."""

    source: str
    account_id: int | None
    bot_id: str | None
    topic: str | None
    fault: str
    message: str


async def insert_rejected(connection: Connection, rows: Iterable[RejectedRow]) -> None:
    """Keep messages that could not be read, whole. NUL, which PostgreSQL cannot hold, becomes its symbol."""
    await connection.executemany(
        "INSERT INTO audit.rejected_messages (source, account_id, bot_id, topic, fault, message) "
        "VALUES ($1, $2, $3, $4, $5, $6)",
        [tuple(part.replace("\x00", "\u2400") if isinstance(part, str) else part for part in row) for row in rows],
    )


@dataclass(frozen=True, slots=True)
class RejectedMessage:
    """One message, whole, and what is wrong with it. `source` names the connection or the call."""

    source: str
    message: str
    fault: str
    account_id: int | None = None
    bot_id: str | None = None
    topic: str | None = None

    def row(self) -> RejectedRow:
        """As it is stored."""
        return RejectedRow(
            self.source,
            self.account_id,
            self.bot_id,
            self.topic,
            self.fault[:2_000],
            self.message[:_MOST_CHARACTERS],
        )


class RejectedMessages:
    """Takes messages without waiting and stores them in the background."""

    def __init__(self, pool: Pool, alerts: AlertBatcher, remedy: str = "") -> None:
        """`remedy` is what an alert says after where the messages are."""
        self.count = 0
        self.lost = 0
        self._pool = pool
        self._alerts = alerts
        self._remedy = remedy
        self._waiting: deque[RejectedMessage] = deque()
        self._characters = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, rejected: RejectedMessage) -> None:
        """Keep this message."""
        self.count += 1
        self._waiting.append(rejected)
        self._characters += len(rejected.message)
        while len(self._waiting) > _MOST_WAITING or (
            self._characters > _MOST_CHARACTERS_WAITING and len(self._waiting) > 1
        ):
            self._drop()
            self.lost += 1
        self._idle.clear()
        self._wake.set()
        kind = f"rejected:{rejected.source}:{rejected.bot_id or ''}"
        self._alerts.note(kind, lambda count, _: self._alert(kind, rejected, count))

    async def run(self) -> None:
        """Store until cancelled; while PostgreSQL is away they wait."""
        batch = _BATCH
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                taken = list(islice(self._waiting, batch))
                try:
                    await self._store(taken)
                except (*POSTGRES_ERRORS, ValueError) as fault:
                    if passes(fault):
                        await asyncio.sleep(1.0)
                        continue
                    if len(taken) > 1:
                        # one of them cannot be stored: one by one, the others can
                        batch = 1
                        continue
                    # what cannot be stored as it is must not hold up the others; it stands in the log
                    self.lost += 1
                    log.warning("rejected_message_not_stored", fault=str(fault), message=taken[0].message[:2_000])
                for one in taken:
                    # a storm may have pushed it out in the meantime
                    if self._waiting and self._waiting[0] is one:
                        self._drop()
            batch = _BATCH
            self._idle.set()

    async def drained(self) -> None:
        """Wait until everything that was put is stored."""
        await self._idle.wait()

    def _drop(self) -> None:
        self._characters -= len(self._waiting.popleft().message)

    async def _store(self, taken: list[RejectedMessage]) -> None:
        async with self._pool.acquire(timeout=5.0) as connection:
            await insert_rejected(connection, [rejected.row() for rejected in taken])

    def _alert(self, kind: str, newest: RejectedMessage, count: int) -> Alert:
        what = (
            "rows that PostgreSQL refused"
            if newest.source == "PostgreSQL"
            else f"messages of the exchange ({newest.source}) that could not be read"
        )
        remedy = "They are in audit.rejected_messages, whole." + (self._remedy if newest.source != "PostgreSQL" else "")
        text = f"{count} {what}; the last: {newest.fault[:300]}"
        return Alert(Level.WARNING, kind, text, remedy, newest.bot_id or "")


def as_text(frame: str | bytes) -> str:
    """A frame as text, whatever it holds."""
    return frame if isinstance(frame, str) else frame.decode("utf-8", "backslashreplace")
