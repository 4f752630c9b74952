"""A wall clock for tests: it advances when code sleeps, and when a test sets it."""

import asyncio


class HandClock:
    """A millisecond clock that stands still until something sleeps."""

    def __init__(self, start_ms: int = 1_700_000_000_000) -> None:
        self.ms = start_ms
        self.slept: list[float] = []

    def now_ms(self) -> int:
        """The current time in milliseconds."""
        return self.ms

    async def sleep(self, seconds: float) -> None:
        """Advance the time and yield to other tasks."""
        self.slept.append(seconds)
        self.ms += max(1, round(seconds * 1_000))
        await asyncio.sleep(0)
