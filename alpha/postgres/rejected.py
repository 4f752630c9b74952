"""Messages that cannot be read: kept whole in `audit.rejected_messages`, with an alert for each kind at a time.

In a storm there is room for so many that wait for PostgreSQL. The first of each kind is always kept whole; of the rest the
oldest give way and are only counted, and the counter is in the metrics, the status of the bot and the alert.
"""

import asyncio
import re
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from alpha.alert_batcher import AlertBatcher
from alpha.alerts import Alert, Level
from alpha.logs import logger
from alpha.postgres.database import Connection, Pool
from alpha.postgres.errors import POSTGRES_ERRORS, passes
from alpha.postgres.sql import queries

SQL = queries(__file__)

log = logger(__name__)

#: So much may wait, of the first ones of their kind and of the rest each.
_MOST_WAITING = 5_000
_MOST_CHARACTERS_WAITING = 16_000_000
#: So many kinds are told apart. What differs between two faults of a kind: numbers, and what is quoted.
_MOST_KINDS = 1_000
_PARTICULARS = re.compile(r"'[^']*'|\"[^\"]*\"|[0-9a-f]*[0-9][0-9a-f.+-]*")
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
        SQL["keep"],
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


class _Waiting:
    """Messages that wait to be stored, oldest first, and how long they are together."""

    def __init__(self) -> None:
        self.messages: deque[RejectedMessage] = deque()
        self._characters = 0

    def fits(self, message: RejectedMessage) -> bool:
        """Whether there is room for it."""
        room = _MOST_CHARACTERS_WAITING - self._characters
        return len(self.messages) < _MOST_WAITING and (len(message.message) <= room or not self.messages)

    def add(self, message: RejectedMessage) -> None:
        self.messages.append(message)
        self._characters += len(message.message)

    def pop(self) -> RejectedMessage:
        message = self.messages.popleft()
        self._characters -= len(message.message)
        return message


class RejectedMessages:
    """Takes messages without waiting and stores them in the background."""

    def __init__(self, pool: Pool, alerts: AlertBatcher, remedy: str = "") -> None:
        """`remedy` is what an alert says after where the messages are."""
        self.count = 0
        #: Those that were only counted, in all and by bot ("" for the public stream).
        self.lost = 0
        self.lost_of: Counter[str] = Counter()
        self._pool = pool
        self._alerts = alerts
        self._remedy = remedy
        self._kinds: set[tuple[str, ...]] = set()
        self._first = _Waiting()
        self._rest = _Waiting()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, rejected: RejectedMessage) -> None:
        """Keep this message, or count it where there is no room."""
        self.count += 1
        waiting = self._first if self._is_first(rejected) and self._first.fits(rejected) else self._rest
        while not waiting.fits(rejected):
            self._lose(waiting.pop())
        waiting.add(rejected)
        self._idle.clear()
        self._wake.set()
        kind = f"rejected:{rejected.source}:{rejected.bot_id or ''}"
        self._alerts.note(kind, lambda count, _: self._alert(kind, rejected, count))

    async def run(self) -> None:
        """Store until cancelled; while PostgreSQL is unavailable they wait."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch = _BATCH
            while waiting := next((one for one in (self._first, self._rest) if one.messages), None):
                taken = list(islice(waiting.messages, batch))
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
                    self._lose(taken[0])
                    log.warning("rejected_message_not_stored", fault=str(fault), message=taken[0].message[:2_000])
                for one in taken:
                    # a storm may have pushed it out in the meantime
                    if waiting.messages and waiting.messages[0] is one:
                        waiting.pop()
            self._idle.set()

    async def drained(self) -> None:
        """Wait until everything that was put is stored."""
        await self._idle.wait()

    def _is_first(self, rejected: RejectedMessage) -> bool:
        topic = (rejected.topic or "").split(".", 1)[0]
        shape = _PARTICULARS.sub("#", rejected.fault[:300])
        kind = (rejected.source, rejected.bot_id or "", topic, shape)
        if kind in self._kinds or len(self._kinds) >= _MOST_KINDS:
            return False
        self._kinds.add(kind)
        return True

    def _lose(self, rejected: RejectedMessage) -> None:
        self.lost += 1
        self.lost_of[rejected.bot_id or ""] += 1

    async def _store(self, taken: list[RejectedMessage]) -> None:
        async with self._pool.acquire(timeout=5.0) as connection:
            await insert_rejected(connection, [rejected.row() for rejected in taken])

    def _alert(self, kind: str, newest: RejectedMessage, count: int) -> Alert:
        bot = newest.bot_id or ""
        kept = "They are in audit.rejected_messages, whole."
        if lost := self.lost_of[bot]:
            kept = f"The first of each kind is in audit.rejected_messages, whole; {lost} since the start were only counted."
        if newest.source == "PostgreSQL":
            what = "rows that PostgreSQL refused"
        else:
            what = f"messages of the exchange ({newest.source}) that could not be read"
            kept = f"{kept} {self._remedy}".rstrip()
        return Alert(Level.WARNING, kind, f"{count} {what}; the last: {newest.fault[:300]}", kept, bot)


def as_text(frame: str | bytes) -> str:
    """A frame as text, whatever it holds."""
    return frame if isinstance(frame, str) else frame.decode("utf-8", "backslashreplace")
