"""The state that the command centre keeps over a restart, in `audit.command_centre`.

While PostgreSQL is unavailable it is buffered in this process.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from alpha.errors import AlphaError, Rejected
from alpha.logs import logger
from alpha.postgres.sql import queries
from operations.context import Operations

SQL = queries(__file__)

log = logger(__name__)
T = TypeVar("T")
#: A PostgreSQL slower than this must not delay an answer.
PATIENCE_S = 2.0


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
