"""Write-behind persistence: saves only the latest state and never blocks the caller."""

import asyncio
from collections.abc import Awaitable, Callable

from alpha.errors import AlphaError
from alpha.logs import logger

log = logger(__name__)
AGAIN_S = 0.5


class WriteBehind:
    """The durable copy of one state. `write` makes a state durable or raises an AlphaError, and is then retried.

    States are written one at a time, in order; one that is superseded while it waits is skipped.
    """

    def __init__(self, what: str, write: Callable[[object], Awaitable[None]], *, again_s: float = AGAIN_S) -> None:
        self._what = what
        self._write = write
        self._again_s = again_s
        self._newest: object = None
        self._news = asyncio.Event()
        self._closed = False
        self._told = ""
        self._task = asyncio.create_task(self._run())

    def save(self, state: object) -> None:
        """Queue this state to be made durable. It must not change afterwards."""
        self._newest = state
        self._news.set()

    async def close(self) -> None:
        """Start no further writes; returns when none is in flight."""
        self._closed = True
        self._news.set()
        await self._task

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            if self._closed:
                return
            self._news.clear()
            try:
                await self._write(self._newest)
            except AlphaError as fault:
                if str(fault) != self._told:
                    self._told = str(fault)
                    log.warning("not_saved", what=self._what, fault=self._told)
                await asyncio.sleep(self._again_s)
                self._news.set()
