"""Waiting for what passes by itself, without missing the wish to stop."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from alpha.errors import Retry
from alpha.logs import logger

log = logger(__name__)
T = TypeVar("T")
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0


class Stopped(Exception):
    """SIGTERM came during a wait."""


class RetryLoop:
    """Waits of one process. `stop` is set when it shall end."""

    def __init__(self, stop: asyncio.Event) -> None:
        self.stop = stop

    async def until_it_works(
        self, what: str, call: Callable[[], Awaitable[T]], tell: Callable[[str], Awaitable[None]] | None = None
    ) -> T:
        """Call until it raises no Retry; `tell` is told in words what is waited for. Stopped when it shall end."""
        pause_s, told = _FIRST_PAUSE_S, ""
        while not self.stop.is_set():
            try:
                return await call()
            except Retry as fault:
                if str(fault) != told:
                    told = str(fault)
                    log.warning("waiting", waits_for=what, why=told)
                if tell is not None:
                    await tell(f"{what}: {told}")
                await self.rest(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        raise Stopped

    async def rest(self, seconds: float) -> None:
        """Wait; Stopped when the process shall end."""
        await self.pause(seconds)
        if self.stop.is_set():
            raise Stopped

    async def pause(self, seconds: float) -> None:
        """Wait, or end the wait early when the process shall end."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stop.wait(), seconds)
