"""How often connections are opened: Bybit allows 500 in five minutes per host and IP address.

Processes behind one address share the count in Redis; while that is unavailable each keeps to a fifth of what Bybit allows.
Accounts with positions are connected first.
"""

import asyncio
import heapq
import itertools
import uuid
from collections import deque
from dataclasses import dataclass, field
from importlib.resources import files

from redis.exceptions import RedisError

from alpha.clock import SYSTEM_CLOCK, Clock
from alpha.live_state.client import TextRedis

WINDOW_S = 300.0
#: All processes behind one address together: four fifths of what Bybit allows.
SHARED_MOST = 400
#: One process by itself.
LOCAL_MOST = 100
_REDIS_TIMEOUT_S = 0.5
_REDIS_PAUSE_S = 1.0
_SCRIPT = files("alpha.bybit").joinpath("rate_limiter.lua").read_text(encoding="utf-8")


@dataclass(order=True, slots=True)
class _Waiter:
    """Who waits: first those whose account has positions, then in order of arrival."""

    later: bool
    number: int
    leads: asyncio.Event = field(default_factory=asyncio.Event, compare=False)


class ConnectBudget:
    """Grants connections, one per process."""

    def __init__(
        self,
        most: int = LOCAL_MOST,
        window_s: float = WINDOW_S,
        *,
        clock: Clock = SYSTEM_CLOCK,
        redis: TextRedis | None = None,
        egress: str = "",
        shared_most: int = SHARED_MOST,
    ) -> None:
        """`redis` is database 15 (None: not shared). `egress` names the outgoing address; `most` holds without Redis."""
        self._most = most
        self._window_s = window_s
        self._clock = clock
        self._redis = redis
        self._key = f"throttle:connect:{egress}"
        self._shared_most = shared_most
        self._me = uuid.uuid4().hex[:12]
        self._redis_again_s = 0.0
        self._opened: deque[float] = deque()
        self._waiting: list[_Waiter] = []
        self._numbers = itertools.count()

    async def take(self, *, holds: bool = False) -> None:
        """Wait until one more connection may be opened; `holds`: its account has positions, so it goes first."""
        mine = _Waiter(not holds, next(self._numbers))
        heapq.heappush(self._waiting, mine)
        try:
            while True:
                if self._waiting[0] is mine:
                    wait_s = await self._room_s()
                    if not wait_s:
                        return
                    await self._clock.sleep(wait_s)
                else:
                    mine.leads.clear()
                    await mine.leads.wait()
        finally:
            self._waiting.remove(mine)
            heapq.heapify(self._waiting)
            if self._waiting:
                self._waiting[0].leads.set()

    async def _room_s(self) -> float:
        """Zero when one more connection was counted, otherwise the seconds to wait."""
        shared_s = await self._shared_room_s()
        now = self._clock.monotonic_s()
        while self._opened and now - self._opened[0] >= self._window_s:
            self._opened.popleft()
        if shared_s is None and len(self._opened) >= self._most:
            return self._opened[0] + self._window_s - now
        if shared_s:
            return shared_s
        self._opened.append(now)
        return 0.0

    async def _shared_room_s(self) -> float | None:
        """As `_room_s`, counted for all processes; None while Redis is unavailable."""
        if self._redis is None or self._clock.monotonic_s() < self._redis_again_s:
            return None
        window_ms, call = int(self._window_s * 1000), f"{self._me}:{next(self._numbers)}"
        keys = (self._key, "-", f"{self._key}:ban", f"{self._key}:block", "-", "-")
        try:
            async with asyncio.timeout(_REDIS_TIMEOUT_S):
                _, wait = await self._redis.eval(
                    _SCRIPT,
                    len(keys),
                    *keys,
                    str(self._clock.wall_ms()),
                    str(window_ms),
                    call,
                    str(self._shared_most),
                    "0",
                    "",
                )
        except (RedisError, OSError, TimeoutError):
            self._redis_again_s = self._clock.monotonic_s() + _REDIS_PAUSE_S
            return None
        return int(wait) / 1000
