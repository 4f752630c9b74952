"""What the command centre remembers over a restart, in `audit.command_centre`; and the audit of what it was asked.

While PostgreSQL is away both wait in this process, so that a panic can be ordered all the same.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from alpha.clock import monotonic_ms
from alpha.errors import AlphaError, Rejected
from alpha.logs import logger
from operations.audit_log import Attempt, note_attempt, note_outcome
from operations.context import Operations

log = logger(__name__)
T = TypeVar("T")
#: A PostgreSQL that takes longer than this for a row must not hold up a panic; it is left alone for a while then.
PATIENCE_S, LEFT_ALONE_MS = 2.0, 10_000
_WAITING = 2_000
_REMEMBERED = 5_000


class StateStore:
    """Named values, read at the start and written when they change."""

    def __init__(self, platform: Operations) -> None:
        self._platform = platform
        self._unsaved: dict[str, Any] = {}
        self._fault = ""
        self._flushing = asyncio.Lock()
        self._tasks: set[asyncio.Task[bool]] = set()

    async def load(self, name: str, kind: type[T], default: Callable[[], T]) -> T:
        """The value of this name; `default()` when there is none or it cannot be read. Retry while PostgreSQL is away."""
        stored = await self._platform.history.value("SELECT state FROM audit.command_centre WHERE name = $1", name)
        if stored is None:
            return default()
        try:
            return msgspec.convert(stored, kind, strict=False)
        except msgspec.ValidationError as fault:
            log.warning("memory_unreadable", name=name, fault=str(fault))
            return default()

    async def save(self, name: str, value: object) -> bool:
        """Write the value; False while PostgreSQL is away, and it is written by the next `flush`."""
        self._unsaved[name] = msgspec.to_builtins(value, str_keys=True)
        # waited for, but not for long; it goes on by itself then
        task = asyncio.create_task(self.flush(), name=f"save {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait({task}, timeout=PATIENCE_S)
        return task.done() and task.result()

    async def flush(self) -> bool:
        """Write what could not be written before."""
        async with self._flushing:
            try:
                for name, value in list(self._unsaved.items()):
                    await self._platform.history.value(
                        "INSERT INTO audit.command_centre (name, state) VALUES ($1, $2) "
                        "ON CONFLICT (name) DO UPDATE SET state = excluded.state, updated_at = now()",
                        name,
                        value,
                    )
                    if self._unsaved.get(name) == value:
                        del self._unsaved[name]
                    self._fault = ""
            except Rejected as fault:
                # PostgreSQL would refuse the same value again, and everything behind it would wait for ever
                self._unsaved.pop(name, None)
                log.error("memory_refused", name=name, fault=str(fault))
                return False
            except AlphaError as fault:
                if str(fault) != self._fault:
                    self._fault = str(fault)
                    log.warning("memory_waits", fault=self._fault)
                return False
        return True


class AuditTrail:
    """Claims updates, once each, and notes how they ended."""

    def __init__(self, platform: Operations) -> None:
        self._platform = platform
        self._claimed: deque[str] = deque(maxlen=_REMEMBERED)
        self._claims: dict[str, asyncio.Task[bool]] = {}
        self._alone_until_ms = 0
        self._flushing = asyncio.Lock()
        self._waiting: deque[tuple[Attempt, str, str] | tuple[str, str, str]] = deque(maxlen=_WAITING)

    async def claim(self, attempt: Attempt, outcome: str, patience_s: float = PATIENCE_S) -> bool:
        """Write an attempt; False when it was claimed before, in this process or an earlier one.

        After `patience_s` it goes on to be written, and counts as claimed.
        """
        if attempt.id in self._claimed:
            return False
        self._claimed.append(attempt.id)
        task = asyncio.create_task(self._write(attempt, outcome), name=f"claim {attempt.id}")
        self._claims[attempt.id] = task
        task.add_done_callback(lambda _: self._claims.pop(attempt.id, None))
        if monotonic_ms() >= self._alone_until_ms:
            await asyncio.wait({task}, timeout=patience_s)
            if task.done():
                return task.result()
            if patience_s < PATIENCE_S:
                return True
            self._alone_until_ms = monotonic_ms() + LEFT_ALONE_MS
            log.warning("audit_waits", fault="PostgreSQL is slow.")
        # Claimed in this process, and written once PostgreSQL answers. All that could happen twice after a restart is a
        # question: a confirmation does not outlive the process.
        return True

    async def _write(self, attempt: Attempt, outcome: str) -> bool:
        """Write an attempt, or keep it; False when it was there."""
        if await self.flush():
            try:
                return await note_attempt(self._platform, attempt, outcome)
            except Rejected as fault:
                log.error("audit_refused", attempt=attempt.id, fault=str(fault))
                return True
            except AlphaError as fault:
                log.warning("audit_waits", fault=str(fault))
        self._waiting.append((attempt, outcome, ""))
        return True

    async def finish(self, attempt_id: str, outcome: str, answer: str) -> None:
        """Write how an attempt ended."""
        claim = self._claims.get(attempt_id)
        if claim is not None:
            await claim
        if await self.flush():
            try:
                await note_outcome(self._platform, attempt_id, outcome, answer)
                return
            except Rejected as fault:
                log.error("audit_refused", attempt=attempt_id, fault=str(fault))
                return
            except AlphaError as fault:
                log.warning("audit_waits", fault=str(fault))
        self._waiting.append((attempt_id, outcome, answer))

    async def flush(self) -> bool:
        """Write what waits, oldest first; False while PostgreSQL is away."""
        # answers end side by side: without the lock two of them would write one row and drop two
        async with self._flushing:
            while self._waiting:
                what, outcome, answer = self._waiting[0]
                try:
                    if isinstance(what, Attempt):
                        await note_attempt(self._platform, what, outcome, answer)
                    else:
                        await note_outcome(self._platform, what, outcome, answer)
                except Rejected as fault:
                    # the same row would be refused again, and all behind it would wait for ever
                    log.error("audit_refused", row=str(what)[:200], fault=str(fault))
                except AlphaError:
                    return False
                self._waiting.popleft()
            return True

    async def interrupted(self) -> list[tuple[str, str]]:
        """Actions that were confirmed and did not end before this process began: id and what; they are marked failed."""
        rows = await self._platform.history.rows(
            "UPDATE audit.commands SET outcome = 'failed', finished_at = now(), "
            "answer = 'The command centre was restarted while it ran.' "
            "WHERE source = 'telegram' AND outcome = 'confirmed' AND finished_at IS NULL "
            "AND issued_at > now() - interval '1 day' RETURNING command_id, name, coalesce(bot_id, '') AS bot"
        )
        return [(row["command_id"], f"/{row['name']} {row['bot']}".strip()) for row in rows]
