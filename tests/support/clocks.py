"""A wall clock for tests: it moves when something sleeps, and when a test says so."""

import asyncio


class HandClock:
    """Milliseconds that stand still until somebody sleeps."""

    def __init__(self, start_ms: int = 1_700_000_000_000) -> None:
        self.ms = start_ms
        self.slept: list[float] = []

    def now_ms(self) -> int:
        """The time."""
        return self.ms

    async def sleep(self, seconds: float) -> None:
        """Move the time on and let others run."""
        self.slept.append(seconds)
        self.ms += max(1, round(seconds * 1_000))
        await asyncio.sleep(0)
