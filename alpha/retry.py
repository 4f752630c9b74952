"""Waits for transient failures to pass, without missing a shutdown request."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from alpha.clock import SYSTEM_CLOCK, Backoff, is_set_within
from alpha.errors import Retry
from alpha.logs import logger

log = logger(__name__)
T = TypeVar("T")
_BACKOFF = Backoff(0.2, 5.0)


class Stopped(Exception):
    """SIGTERM came during a wait."""


class RetryLoop:
    """The waits of one process. `stop` is set on shutdown."""

    def __init__(self, stop: asyncio.Event) -> None:
        self.stop = stop

    async def until_it_works(
        self, what: str, call: Callable[[], Awaitable[T]], tell: Callable[[str], Awaitable[None]] | None = None
    ) -> T:
        """Call until it raises no Retry; calls `tell(reason)` while retrying. Raises Stopped on shutdown."""
        failures, told = 0, ""
        while not self.stop.is_set():
            try:
                return await call()
            except Retry as fault:
                if str(fault) != told:
                    told = str(fault)
                    log.warning("waiting", waits_for=what, why=told)
                if tell is not None:
                    await tell(f"{what}: {told}")
                failures += 1
                await self.rest(_BACKOFF.pause_s(failures, SYSTEM_CLOCK.random()))
        raise Stopped

    async def rest(self, seconds: float) -> None:
        """Wait; raises Stopped on shutdown."""
        await self.pause(seconds)
        if self.stop.is_set():
            raise Stopped

    async def pause(self, seconds: float) -> None:
        """Wait, returning early on shutdown."""
        await is_set_within(self.stop, seconds)
