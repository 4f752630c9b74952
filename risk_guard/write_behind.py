"""Saving beside the work: the newest state is made durable in its turn, and what saves it waits for nothing."""

import asyncio
from collections.abc import Awaitable, Callable

from alpha.errors import AlphaError
from alpha.logs import logger

log = logger(__name__)
AGAIN_S = 0.5


class WriteBehind:
    """The durable copy of one state. `write` makes a state durable, or raises an error of ours: it is tried again then.

    States are written one at a time, each newer than the one before; one that was overtaken while it waited is left out.
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
        """Have this state made durable. It must not change afterwards."""
        self._newest = state
        self._news.set()

    async def close(self) -> None:
        """Begin no further write; returns when none is on its way any more."""
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
