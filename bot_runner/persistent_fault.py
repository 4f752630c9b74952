"""Tells a fault that passes from one that stays: what fails for a minute without a success in between is an alert."""

from alpha.alerts import Level
from alpha.clock import SYSTEM_CLOCK, Clock
from alpha.live_state.maintenance import in_maintenance
from bot_runner.state_persistence import StatePersistence

#: A fault that lasts for so long does not pass by itself.
LASTS_MS = 60_000


class PersistentFault:
    """One thing that is tried again and again. `what` begins the alert's sentence, as in "The limits of x were not judged"."""

    def __init__(self, journal: StatePersistence, key: str, what: str, clock: Clock = SYSTEM_CLOCK) -> None:
        self._journal = journal
        self._key = key
        self._what = what
        self._clock = clock
        self._since_ms: int | None = None

    async def passed(self) -> None:
        """It worked."""
        self._since_ms = None
        await self._journal.over(self._key)

    async def failed(self, fault: Exception) -> None:
        """It did not work; the alert repeats while that lasts. LeaseLost as `StatePersistence.warn`.

        In an announced maintenance the exchange is away for everybody: nothing is told then, and what lasts longer is
        told once it is over.
        """
        now_ms = self._clock.monotonic_ms()
        if self._since_ms is None:
            self._since_ms = now_ms
        if now_ms - self._since_ms >= LASTS_MS and not await in_maintenance(self._journal.alerts.shared):
            seconds = (now_ms - self._since_ms) // 1000
            text = f"{self._what} for {seconds} s: {fault}"
            await self._journal.warn(
                self._key, text, "Look at the bot's log; positions keep their stops.", Level.CRITICAL
            )
