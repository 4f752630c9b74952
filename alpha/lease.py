"""A lease with a deadline and a fencing token: only its holder may act.

The lease's row is in PostgreSQL (`alpha.postgres.lease`). The deadline is kept here, by a clock that keeps running
during suspend, and counts from before the renewal was requested: it is never later than the row's. So a process that
was frozen knows by itself that its lease has expired, and asks before it acts again.

| act | needs |
|---|---|
| OPEN: can open or increase a position | the lease, and everything an earlier holder sent has arrived or expired |
| CHANGE: leverage, margin mode, stops | the lease |
| REDUCE: can only reduce or protect | the lease, or PostgreSQL was just asked and did not answer |

While PostgreSQL is unavailable nobody can take a lease, so exits continue without it; a thawed process asks first.

Requests are signed with `window_ms`, so the exchange itself refuses what arrives after the lease has expired. The
successor of a holder that did not release waits `settle_ms` before it opens anything: lease + window + 1 s + clock
error. The exchange accepts timestamps up to 1 s ahead.
"""

import asyncio
import os
import secrets
import socket
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from alpha.clock import SYSTEM_CLOCK, Clock
from alpha.errors import AlphaError, Fatal, Retry
from alpha.logs import logger

log = logger(__name__)
#: Maximum error of the exchange's clock as known here; a bot whose clock is further off opens nothing.
CLOCK_ERROR_MS = 500
#: How far ahead of its own clock the exchange accepts timestamps.
STAMP_AHEAD_MS = 1_000
#: The longest receive window used to sign a request; Bybit's default.
MOST_WINDOW_MS = 5_000
#: A shorter window would be refused on a slow connection: the lease then counts as expired.
LEAST_WINDOW_MS = 400


class Act(Enum):
    """What a request can do; the module docstring says what each needs."""

    OPEN = auto()
    CHANGE = auto()
    REDUCE = auto()


class LeaseLost(Fatal):
    """Another process now holds the lease: this one must not act any more."""


class LeaseNotHeld(Retry):
    """The lease is not held at this moment: the request was not sent."""


class Fence(Protocol):
    """The check that every write to the exchange passes."""

    async def ready(self, act: Act) -> None:
        """Renew if `act` needs it. Raises LeaseNotHeld or LeaseLost when `act` is not allowed."""

    def window_ms(self, act: Act, most_ms: int) -> int:
        """The receive window to sign with now, at most `most_ms`; raises as `ready` does.

        Called in the sending thread, after the timestamp was taken.
        """

    def doubt(self) -> None:
        """Treat the lease as not held until renewed: the exchange refused a timestamp, so the clocks may be wrong."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A lease just acquired. `handed_over`: no earlier holder can still act; it released, or there was none."""

    token: int
    handed_over: bool


class LeaseRow(Protocol):
    """The durable row of one lease. Raises an AlphaError while it cannot be queried."""

    async def acquire(self, holder: str, seconds: float) -> Grant | None:
        """Take it for `seconds` if free; None while another process holds it."""

    async def renew(self, holder: str, token: int, seconds: float) -> bool:
        """Renew it; False when another process has taken it."""

    async def release(self, holder: str, token: int) -> None:
        """Release it."""

    async def holder(self) -> str:
        """Who holds it."""


def process_name() -> str:
    """A unique name of this process: host, process id and a random part."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def settle_ms(seconds: float) -> int:
    """How long after acquisition requests of a holder that did not release may still be accepted, in milliseconds."""
    lease_ms = int(seconds * 1000)
    return lease_ms + min(MOST_WINDOW_MS, lease_ms) + STAMP_AHEAD_MS + CLOCK_ERROR_MS


class Lease:
    """One lease of this process. `token` fences writes made under it; it is 0 until the lease was acquired."""

    def __init__(
        self,
        row: LeaseRow,
        seconds: float,
        *,
        what: str,
        holder: str = "",
        clock: Clock = SYSTEM_CLOCK,
        settle_wait_ms: int | None = None,
    ) -> None:
        """`what` names what is leased, for messages; the deadline is kept by `clock.boottime_ms`.

        `settle_wait_ms`: how long a successor waits instead of `settle_ms`; for a simulated exchange only.
        """
        self.token = 0
        self.lost = False
        #: How often PostgreSQL did not answer a renewal and answered again: it may have come back older than it was.
        self.outages = 0
        self.seconds = seconds
        self.holder = holder or process_name()
        self._row = row
        self._what = what
        self._clock = clock
        self._deadline_ms = 0
        self._settle_wait_ms = settle_ms(seconds) if settle_wait_ms is None else settle_wait_ms
        self._settled_ms = 0
        self._unanswered_ms: int | None = None
        self._asking = asyncio.Lock()

    # --- taking and keeping -------------------------------------------------------------------------------------

    async def try_take(self) -> bool:
        """Take it if free; False while another process holds it. Raises the row's error when it cannot be queried."""
        async with self._asking:
            asked_ms = self._clock.boottime_ms()
            grant = await self._row.acquire(self.holder, self.seconds)
            if grant is None:
                return False
            self.token, self.lost = grant.token, False
            self._deadline_ms = asked_ms + int(self.seconds * 1000)
            # Count from after the grant: until then the earlier holder may have renewed.
            now_ms = self._clock.boottime_ms()
            self._settled_ms = now_ms if grant.handed_over else now_ms + self._settle_wait_ms
            self._unanswered_ms = None
            return True

    async def renew(self) -> None:
        """Renew once. Raises LeaseLost when another process has it; without an answer the deadline stays."""
        async with self._asking:
            await self._renew()

    async def _renew(self) -> None:
        if self.lost:
            raise self._taken()
        if not self.token:
            return
        asked_ms = self._clock.boottime_ms()
        try:
            kept = await self._row.renew(self.holder, self.token, self.seconds)
        except AlphaError as fault:
            self._unanswered_ms = self._clock.boottime_ms()
            log.warning("lease_not_renewed", what=self._what, why=str(fault))
            return
        if self._unanswered_ms is not None:
            self.outages += 1
        self._unanswered_ms = None
        if not kept:
            self.lost = True
            raise self._taken()
        self._deadline_ms = max(self._deadline_ms, asked_ms + int(self.seconds * 1000))

    async def keep(self) -> None:
        """Renew until cancelled. Raises LeaseLost when another process has it."""
        while True:
            await asyncio.sleep(self.seconds / 4)
            await self.renew()

    async def give_back(self) -> None:
        """Release it, so that a successor can start at once. Call it only when no request is in flight."""
        token, self._deadline_ms = self.token, 0
        if token and not self.lost:
            try:
                await self._row.release(self.holder, token)
            except AlphaError as fault:
                log.warning("lease_not_released", what=self._what, why=str(fault))

    # --- querying it ----------------------------------------------------------------------------------------------

    @property
    def left_ms(self) -> int:
        """Remaining time in milliseconds; 0 when it is not held."""
        if self.lost or not self.token:
            return 0
        return max(0, self._deadline_ms - self._clock.boottime_ms())

    @property
    def held(self) -> bool:
        """True while nobody else can hold it, with enough time left to send a request."""
        return self._window_ms() >= LEAST_WINDOW_MS

    @property
    def settles_in_ms(self) -> int:
        """How long requests of an earlier holder may still be accepted, in milliseconds."""
        return max(0, self._settled_ms - self._clock.boottime_ms())

    def check(self, act: Act = Act.CHANGE) -> None:
        """Raise LeaseLost, or LeaseNotHeld when `act` is not allowed now."""
        if self.lost:
            raise self._taken()
        if act is Act.OPEN and self.settles_in_ms:
            raise LeaseNotHeld(
                f"What an earlier holder of {self._what} sent may still arrive for {self.settles_in_ms / 1000:.1f} s; "
                "nothing is opened before."
            )
        if self.held or (act is Act.REDUCE and self._just_unanswered):
            return
        raise LeaseNotHeld(f"The lease of {self._what} is not renewed; nothing is sent until it is.")

    async def ready(self, act: Act) -> None:
        """Renew if `act` needs it and the lease has expired; then as `check`."""
        if not self.held and not (act is Act.REDUCE and self._just_unanswered):
            async with self._asking:
                if not self.held:
                    await self._renew()
        self.check(act)

    def window_ms(self, act: Act, most_ms: int) -> int:
        """The receive window to sign with at this instant, at most `most_ms`. Raises as `check`.

        The timestamp must be taken before this call: a freeze between the two then shortens the window.
        """
        window_ms = self._window_ms()
        self.check(act)
        return min(most_ms, window_ms) if window_ms >= LEAST_WINDOW_MS else most_ms

    def doubt(self) -> None:
        """Treat the lease as not held until it is renewed."""
        self._deadline_ms = 0

    def _window_ms(self) -> int:
        return self.left_ms - CLOCK_ERROR_MS

    @property
    def _just_unanswered(self) -> bool:
        """True when PostgreSQL was asked within the last lease term and did not answer."""
        asked_ms = self._unanswered_ms
        return asked_ms is not None and self._clock.boottime_ms() - asked_ms < self.seconds * 1000

    def _taken(self) -> LeaseLost:
        return LeaseLost(f"Another process holds the lease of {self._what} now; this one ends.")
