"""Which of several guards acts: one lease for all accounts, in PostgreSQL.

The one that holds it patrols and takes commands. While PostgreSQL is away the holder goes on, and one that cannot learn
whether there is another acts once a lease would have ended: all it sends is reduce-only or a stop, so that two that act
for a while reverse nothing, while none that acts would leave positions alone.
"""

import time
from collections.abc import Callable

from alpha.errors import AlphaError
from alpha.logs import logger
from risk_guard.store import GuardStore

log = logger(__name__)


class GuardLease:
    """The lease of this process; `holder` names it and is unlike any other. It holds `lease_s` from each renewal."""

    def __init__(
        self, store: GuardStore, holder: str, lease_s: float, *, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.leads = False
        self._store = store
        self._holder = holder
        self._lease_s = lease_s
        self.renew_s = lease_s / 3
        self._clock_s = clock_s
        self._away_since_s: float | None = None

    async def renew(self) -> None:
        """Take or keep the lease, as far as PostgreSQL answers. Never fails."""
        had = self.leads
        try:
            self.leads = await self._store.lead(self._holder, self._lease_s)
        except AlphaError as fault:
            now_s = self._clock_s()
            self._away_since_s = now_s if self._away_since_s is None else self._away_since_s
            if not had and now_s - self._away_since_s >= self._lease_s:
                log.warning("acts_without_lease", fault=str(fault))
                self.leads = True
            return
        self._away_since_s = None
        if self.leads != had:
            log.info("lease_taken" if self.leads else "lease_lost")
