"""The state that the command centre keeps over a restart, in `audit.command_centre`, and the audit log of commands.

While PostgreSQL is unavailable both are buffered in this process, so that a panic can still be ordered.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from alpha.clock import monotonic_ms
from alpha.errors import AlphaError, Rejected
from alpha.logs import logger
from alpha.postgres.sql import queries
from operations.audit_log import Attempt, note_attempt, note_outcome
from operations.context import Operations

SQL = queries(__file__)

log = logger(__name__)
T = TypeVar("T")
#: A PostgreSQL slower than this per row must not delay a panic; it is then not waited for during LEFT_ALONE_MS.
PATIENCE_S, LEFT_ALONE_MS = 2.0, 10_000
_WAITING = 2_000
_REMEMBERED = 5_000


class StateStore:
    """Named values, read at startup and written when they change."""

    def __init__(self, platform: Operations) -> None:
        self._platform = platform
        self._unsaved: dict[str, Any] = {}
        self._fault = ""
        self._flushing = asyncio.Lock()
        self._tasks: set[asyncio.Task[bool]] = set()

    async def load(self, name: str, kind: type[T], default: Callable[[], T]) -> T:
        """Return the value; `default()` if missing or unreadable. Raises Retry while PostgreSQL is unavailable."""
        stored = await self._platform.history.value(SQL["load"], name)
        if stored is None:
            return default()
        try:
            return msgspec.convert(stored, kind, strict=False)
        except msgspec.ValidationError as fault:
            log.warning("memory_unreadable", name=name, fault=str(fault))
            return default()

    async def save(self, name: str, value: object) -> bool:
        """Write the value; False while PostgreSQL is unavailable, and the next `flush` writes it."""
        self._unsaved[name] = msgspec.to_builtins(value, str_keys=True)
        # waits for the write, but not for long; it then continues in the background
        task = asyncio.create_task(self.flush(), name=f"save {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait({task}, timeout=PATIENCE_S)
        return task.done() and task.result()

    async def flush(self) -> bool:
        """Write the values that could not be written before."""
        async with self._flushing:
            try:
                for name, value in list(self._unsaved.items()):
                    await self._platform.history.value(
                        SQL["save"],
                        name,
                        value,
                    )
                    if self._unsaved.get(name) == value:
                        del self._unsaved[name]
                    self._fault = ""
            except Rejected as fault:
                # PostgreSQL would refuse the same value again and block everything behind it
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
    """Claims each update once and records how it ended."""

    def __init__(self, platform: Operations) -> None:
        self._platform = platform
        self._claimed: deque[str] = deque(maxlen=_REMEMBERED)
        self._claims: dict[str, asyncio.Task[bool]] = {}
        self._alone_until_ms = 0
        self._flushing = asyncio.Lock()
        self._waiting: deque[tuple[Attempt, str, str] | tuple[str, str, str]] = deque(maxlen=_WAITING)

    async def claim(self, attempt: Attempt, outcome: str, patience_s: float = PATIENCE_S) -> bool:
        """Write an attempt; False if it was claimed before, in this process or an earlier one.

        After `patience_s` the write continues in the background and the attempt counts as claimed.
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
        # Claimed in this process, and written once PostgreSQL answers. Only a query could be repeated after a
        # restart: a confirmation does not outlive the process.
        return True

    async def _write(self, attempt: Attempt, outcome: str) -> bool:
        """Write an attempt, or buffer it; False if it already existed."""
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
        """Record how an attempt ended."""
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
        """Write the buffered rows, oldest first; False while PostgreSQL is unavailable."""
        # answers end concurrently: without the lock two of them would write one row and drop two
        async with self._flushing:
            while self._waiting:
                what, outcome, answer = self._waiting[0]
                try:
                    if isinstance(what, Attempt):
                        await note_attempt(self._platform, what, outcome, answer)
                    else:
                        await note_outcome(self._platform, what, outcome, answer)
                except Rejected as fault:
                    # the same row would be refused again and block all behind it
                    log.error("audit_refused", row=str(what)[:200], fault=str(fault))
                except AlphaError:
                    return False
                self._waiting.popleft()
            return True

    async def interrupted(self) -> list[tuple[str, str]]:
        """Mark confirmed actions that did not end before this process began as failed; return their ids and texts."""
        rows = await self._platform.history.rows(SQL["abandon_commands"])
        return [(row["command_id"], f"/{row['name']} {row['bot']}".strip()) for row in rows]
