"""Two clocks. Business time is the exchange's; wall time is this machine's.

Bars, holding times, limits and all stored exchange times use business time: the newest
timestamp the exchange has sent. The wall clock is for liveness, rate limits, expiry, `received_at` and
signing. On a simulated exchange the two differ in speed by a factor of thousands.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from alpha.errors import Retry
from alpha.model.timestamp import at

#: Without CLOCK_BOOTTIME (macOS), the monotonic clock is the one that keeps running during suspend.
_BOOTTIME: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def wall_ms() -> int:
    """This machine's time, in milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    """Milliseconds since an arbitrary start; never runs backwards."""
    return time.monotonic_ns() // 1_000_000


def boottime_ms() -> int:
    """Milliseconds since an arbitrary start; keeps running during suspend and never runs backwards."""
    return time.clock_gettime_ns(_BOOTTIME) // 1_000_000


@dataclass(frozen=True, slots=True)
class Clock:
    """Time, waiting and chance of this machine. Passed in, so that every rule can be tested at any moment.

    `wall_ms` counts from 1970 UTC and can be set; `monotonic_ms` never runs backwards; `boottime_ms` also runs on during
    suspend. `random` draws from [0, 1).
    """

    wall_ms: Callable[[], int] = wall_ms
    monotonic_ms: Callable[[], int] = monotonic_ms
    boottime_ms: Callable[[], int] = boottime_ms
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    random: Callable[[], float] = random.random

    def monotonic_s(self) -> float:
        """`monotonic_ms` in seconds."""
        return self.monotonic_ms() / 1000


#: The real one.
SYSTEM_CLOCK = Clock()


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for the event, at most this long; True when it is set.

    Not `asyncio.wait_for`: before Python 3.12 it swallows a cancellation that comes when what it waits for is just done.
    """
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between attempts: doubling from `first_s` to `most_s`, each drawn from its upper half, so that clients spread.

    `tries` counts all attempts of a caller that gives up, the first included.
    """

    first_s: float = 0.25
    most_s: float = 5.0
    tries: int = 5

    def pause_s(self, failures: int, draw: float, *, least_s: float = 0.0) -> float:
        """The pause after `failures` failures in a row (from 1); `draw` is from [0, 1). `least_s` is drawn from as well."""
        longest: float = min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 20))
        return max(longest, least_s) * (0.5 + draw / 2)


class BusinessClock:
    """The newest timestamp that the exchange has sent. It never runs backwards."""

    def __init__(self) -> None:
        self._now_ms: int | None = None

    def saw(self, exchange_ms: int) -> None:
        """Record a timestamp that the exchange sent, in milliseconds."""
        if self._now_ms is None or exchange_ms > self._now_ms:
            self._now_ms = exchange_ms

    @property
    def known(self) -> bool:
        """True once the exchange has sent a timestamp."""
        return self._now_ms is not None

    def now_ms(self) -> int:
        """Business time in milliseconds; raises Retry before the first exchange timestamp."""
        if self._now_ms is None:
            raise Retry("The exchange has not sent a time yet; wait for its first answer.")
        return self._now_ms

    def now(self) -> datetime:
        """Business time, aware UTC; raises Retry before the first exchange timestamp."""
        return at(self.now_ms())
