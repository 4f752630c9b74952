"""Which of several guards acts: one lease for all accounts, checked before every request.

The holder patrols and consumes commands. While PostgreSQL is unavailable the holder continues, and a guard that
cannot learn whether there is another acts after 10 s: everything it sends is reduce-only or a stop, so two active
guards cannot reverse anything, whereas no active guard would leave positions unprotected. A guard that was frozen
asks PostgreSQL before it sends anything.
"""

import asyncio

from alpha.clock import SYSTEM_CLOCK, Clock, is_set_within
from alpha.errors import AlphaError
from alpha.lease import Act, Lease, LeaseLost, LeaseNotHeld, LeaseRow
from alpha.logs import logger

log = logger(__name__)
#: How often a standby guard asks whether the lease is free, in seconds.
AGAIN_S = 0.25
#: How long PostgreSQL must be unavailable before a guard acts that never held the lease.
ALONE_AFTER_MS = 10_000


class GuardLease:
    """The lease of this process, and the fence for all its gateways."""

    def __init__(self, row: LeaseRow, lease_s: float, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._lease = Lease(row, lease_s, what="the guard", clock=clock)
        self._lease_ms = int(lease_s * 1000)
        self._clock = clock
        self._away_since_ms: int | None = None
        self._alone_until_ms = 0
        self._led = asyncio.Event()

    @property
    def leads(self) -> bool:
        """True while this guard is the one that acts."""
        try:
            self._check()
        except AlphaError:
            return False
        return True

    async def tend(self) -> float:
        """Acquire or renew the lease if PostgreSQL answers; returns the seconds until the next call. Never raises."""
        had = self._led.is_set()
        await self._ask()
        leads = self.leads
        if leads != had:
            log.info("lease_taken" if leads else "lease_lost")
        if leads:
            self._led.set()
        else:
            self._led.clear()
        return self._lease.seconds / 4 if leads else AGAIN_S

    async def led(self, timeout_s: float) -> None:
        """Wait until this guard leads, at most `timeout_s`."""
        if self._led.is_set() and not self.leads:
            await asyncio.sleep(AGAIN_S)  # the lease expired while it was frozen; it is about to ask
        await is_set_within(self._led, timeout_s)

    async def give_back(self) -> None:
        """Release the lease, so another guard can act at once. Call it only when no request is in flight."""
        self._alone_until_ms = 0
        await self._lease.give_back()

    async def _ask(self) -> None:
        try:
            if self._lease.token and not self._lease.lost:
                await self._lease.renew()
                return
            await self._lease.try_take()
            self._away_since_ms, self._alone_until_ms = None, 0
        except LeaseLost as fault:
            log.warning("another_guard_acts", why=str(fault))
        except AlphaError as fault:
            now_ms = self._clock.boottime_ms()
            self._away_since_ms = now_ms if self._away_since_ms is None else self._away_since_ms
            if now_ms - self._away_since_ms >= ALONE_AFTER_MS:
                log.warning("acts_without_lease", fault=str(fault))
                self._alone_until_ms = now_ms + self._lease_ms

    # --- the fence ----------------------------------------------------------------------------------------------

    async def ready(self, act: Act) -> None:
        """Ask PostgreSQL when the lease has expired. Raises LeaseNotHeld when another guard acts."""
        if not self.leads:
            await self._ask()
        self._check()

    def window_ms(self, act: Act, most_ms: int) -> int:
        """The receive window to sign with at this instant. Raises LeaseNotHeld when this guard may not act."""
        if self._alone:
            return most_ms
        try:
            return self._lease.window_ms(Act.REDUCE, most_ms)
        except LeaseLost as fault:
            raise LeaseNotHeld(str(fault)) from None

    def doubt(self) -> None:
        """Treat the lease as not held until it is renewed."""
        self._lease.doubt()

    @property
    def _alone(self) -> bool:
        return self._clock.boottime_ms() < self._alone_until_ms

    def _check(self) -> None:
        if not self._alone:
            try:
                self._lease.check(Act.REDUCE)
            except LeaseLost as fault:
                # A guard that was replaced stands by; its process keeps running.
                raise LeaseNotHeld(str(fault)) from None
