"""When each account is audited: spread over the beat, a few at a time, accounts with positions first."""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from alpha.bybit.request_plan import audit_beat_s, valid_s
from alpha.clock import SYSTEM_CLOCK, Clock

#: So many accounts are read at the same time, at a start and after an outage.
AT_ONCE = 8


class AuditSchedule:
    """The turns of all accounts of this process. `accounts` counts those behind the same address, others' too."""

    def __init__(
        self,
        accounts: int,
        wanted_s: float,
        *,
        at_once: int = AT_ONCE,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.beat_s = audit_beat_s(accounts, wanted_s)
        self.valid_s = valid_s(self.beat_s)
        self._accounts = max(1, accounts)
        self._free = at_once
        self._clock = clock
        self._waiting: list[tuple[bool, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def pause_s(self, place: int) -> float:
        """Seconds until the next audit on the beat of the account at `place` among all: half to one and a half beats away."""
        beat_s = self.beat_s
        phase_s = beat_s * (place % self._accounts) / self._accounts
        earliest_s = self._clock.monotonic_s() + beat_s / 2
        return phase_s + beat_s * -(-(earliest_s - phase_s) // beat_s) - self._clock.monotonic_s()

    @asynccontextmanager
    async def turn(self, *, holds: bool) -> AsyncIterator[None]:
        """Wait for a place among those that are read at once; `holds`: the account has positions and goes first."""
        if self._free > 0 and not self._waiting:
            self._free -= 1
        else:
            free: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (not holds, next(self._numbers), free))
            try:
                await free
            except BaseException:
                if free.done() and not free.cancelled():
                    self._next()
                raise
        try:
            yield
        finally:
            self._next()

    def _next(self) -> None:
        while self._waiting:
            _, _, free = heapq.heappop(self._waiting)
            if not free.done():
                free.set_result(None)
                return
        self._free += 1
