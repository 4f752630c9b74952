"""One request budget for all processes: per IP address and per account and endpoint, shared by priority.

Like Bybit's, the window is a rolling second: a call is granted when fewer than the limit were granted in the second
before it. Lower priorities leave part of each limit free, so that an exit finds room at once during a backfill. The
count is kept in Redis by one atomic script. Accounts share fairly: once half of an address's budget is in use, a
reconciliation gets at most its account's part of it, and so does a backfill; what one of the two takes is not taken from
the other, and backfills give up half while a reconciliation waits: they last for hours, and until an account is reconciled
nobody trades on it. While Redis is unavailable, each process keeps to a fixed share.
"""

import asyncio
import math
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import IntEnum
from importlib.resources import files

from redis.exceptions import RedisError

from alpha.bybit.endpoints import Endpoint
from alpha.bybit.errors import AddressBanned, Throttled
from alpha.bybit.retry_policy import BAN_S
from alpha.clock import SYSTEM_CLOCK, Clock
from alpha.live_state.client import TextRedis

#: Requests per second of all processes together; Bybit bans an IP address at 120 per second (600 in 5 s).
IP_PER_SECOND = 60
WINDOW_MS = 1_000
#: The share of each limit that one limiter may use while Redis is unavailable. Those of three bots, of the listener, the guard and the
#: trade sync share an address; the bot and the guard share an account's writes, four processes its reads.
LEAST_SHARERS = 6
OTHER_SHARERS = 3
LOCAL_SHARE_WRITE = 1 / 2
LOCAL_SHARE_READ = 1 / 4
_REDIS_TIMEOUT_S = 0.25
_REDIS_PAUSE_MS = 1_000
_SCRIPT = files("alpha.bybit").joinpath("rate_limiter.lua").read_text(encoding="utf-8")


class Priority(IntEnum):
    """Priority of a call. The smaller the number, the more of each limit may be used."""

    EXIT = 0
    STOP = 1
    ENTRY = 2
    RECONCILE = 3
    BACKFILL = 4


_KEPT_FREE = {
    Priority.EXIT: 0.0,
    Priority.STOP: 0.02,
    Priority.ENTRY: 0.03,
    Priority.RECONCILE: 0.04,
    Priority.BACKFILL: 0.05,
}


def share(limit: int, rank: Priority) -> int:
    """How many calls per second of `limit` this priority may use: all for exits, 56 of 60 for a backfill, at least one.

    Higher priorities are served first: free capacity falls below their limit before it falls below a lower one's.
    """
    return max(1, limit - max(math.ceil(limit * _KEPT_FREE[rank]), int(rank)))


_URGENT: ContextVar[bool] = ContextVar("urgent", default=False)


@contextmanager
def urgent() -> Iterator[None]:
    """Reconciliations that are asked for within have the rank of an entry: until they are done nobody enters there."""
    before = _URGENT.set(True)
    try:
        yield
    finally:
        _URGENT.reset(before)


@dataclass(slots=True)
class RateLimiterCounts:
    """Counters of the rate limiter since start, for metrics."""

    granted: int = 0
    waited: int = 0
    waited_ms: int = 0
    refused: int = 0
    local: int = 0


@dataclass(slots=True)
class _Local:
    """The counters of one process while Redis is unavailable; same rule as the script."""

    granted: dict[str, deque[int]] = field(default_factory=dict)
    banned_until_ms: int = 0
    blocked_until_ms: dict[str, int] = field(default_factory=dict)

    def take(self, limits: Mapping[str, tuple[int, int]], now_ms: int) -> int:
        """Zero when granted, otherwise the milliseconds to wait. `limits`: so many calls within so many milliseconds."""
        wait = 0
        for key, (limit, window_ms) in limits.items():
            seen = self.granted.setdefault(key, deque())
            while seen and (seen[0] <= now_ms - window_ms or seen[0] > now_ms + window_ms):
                seen.popleft()
            if len(seen) >= limit:
                wait = max(wait, seen[len(seen) - limit] + window_ms - now_ms, 1)
        if not wait:
            for key in limits:
                self.granted[key].append(now_ms)
        return wait


class RateLimiter:
    """Grants calls. One per process, shared by all its gateways."""

    def __init__(
        self,
        redis: TextRedis | None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        ip_per_second: int = IP_PER_SECOND,
        ban_s: float = BAN_S,
        egress: str = "",
        bots: int = LEAST_SHARERS - OTHER_SHARERS,
    ) -> None:
        """`redis` is database 15 (None: not shared, fixed shares). Processes with the same
        `egress` leave from the same IP address and share its budget. `bots`: how many bots the registry has, each with a limiter of its own;
        without Redis all of them together must stay below what gets the address banned."""
        behind = f":{egress}" if egress else ""
        self._ip_key, self._ban_key = f"throttle:ip{behind}", f"throttle:ban{behind}"
        self._filling_key = f"throttle:filling{behind}"
        self._reconciling_key = f"throttle:reconciling{behind}"
        self._redis = redis
        self._clock = clock
        self._ip_per_second = ip_per_second
        self._sharers = max(LEAST_SHARERS, bots + OTHER_SHARERS)
        self._ban_s = ban_s
        self._local = _Local()
        self._turns: dict[tuple[str, str, Priority], asyncio.Lock] = {}
        self._learned: dict[tuple[str, str], int] = {}
        self._redis_again_ms = 0
        self._me = uuid.uuid4().hex[:12]
        self._calls = 0
        self.counts = RateLimiterCounts()

    def is_shared(self) -> bool:
        """True while the budget is kept in Redis; False while this process uses its local share."""
        return self._redis is not None and self._clock.wall_ms() >= self._redis_again_ms

    def limit(self, account: str, endpoint: Endpoint) -> int | None:
        """Calls per second for this account and endpoint: Bybit's last stated limit, or its published default."""
        return self._learned.get((account, endpoint.path), endpoint.per_second)

    async def acquire(self, account: str, endpoint: Endpoint, rank: Priority, *, wait_s: float = 30.0) -> None:
        """Wait until this call may be sent.

        Raises Throttled when there is no room within `wait_s`, and AddressBanned while Bybit bans this address.
        """
        began = self._clock.wall_ms()
        if rank is Priority.RECONCILE and _URGENT.get():
            rank = Priority.ENTRY
        # Callers for the same limit queue, so that only one of them asks at a time.
        turn = self._turns.setdefault((account, endpoint.path, rank), asyncio.Lock())
        try:
            async with asyncio.timeout(wait_s):
                await turn.acquire()
        except TimeoutError:
            self.counts.refused += 1
            raise self._no_room(account, endpoint, wait_s, None) from None
        try:
            await self._wait_for_room(account, endpoint, rank, began, wait_s)
        finally:
            turn.release()

    async def _wait_for_room(self, account: str, endpoint: Endpoint, rank: Priority, began: int, wait_s: float) -> None:
        while True:
            now = self._clock.wall_ms()
            wait_ms, banned = await self._ask(account, endpoint, rank, now)
            if banned:
                raise self._banned(wait_ms / 1_000)
            if not wait_ms:
                self.counts.granted += 1
                if now > began:
                    self.counts.waited += 1
                    self.counts.waited_ms += now - began
                return
            if wait_ms > began + wait_s * 1_000 - now:
                self.counts.refused += 1
                raise self._no_room(account, endpoint, wait_s, wait_ms / 1_000)
            await self._clock.sleep(wait_ms / 1_000)

    def _no_room(self, account: str, endpoint: Endpoint, wait_s: float, after_s: float | None) -> Throttled:
        return Throttled(
            f"No room for {endpoint.path} of {account} within {wait_s:g} s: the request budget is in use by calls of "
            "its own or of higher rank. Try again.",
            after_s=after_s,
        )

    def learn(self, account: str, endpoint: Endpoint, headers: Mapping[str, str]) -> None:
        """Adopt the limit that an answer states in `X-Bapi-Limit`."""
        text = headers.get("X-Bapi-Limit", "")
        if endpoint.per_second is not None and text.isdecimal() and 0 < int(text) <= 1_000:
            self._learned[(account, endpoint.path)] = int(text)

    async def block(self, account: str, endpoint: Endpoint, until_ms: int) -> None:
        """Grant nothing for this account and endpoint before `until_ms` (wall clock): the exchange answered 10006."""
        key = _block_key(account, endpoint)
        self._local.blocked_until_ms[key] = until_ms
        left = until_ms - self._clock.wall_ms()
        if left > 0:
            await self._store(key, until_ms, left)

    async def ban(self) -> AddressBanned:
        """Grant nothing to any process for ten minutes: the exchange answered 403. Returns the error to raise."""
        self._local.banned_until_ms = self._clock.wall_ms() + int(self._ban_s * 1_000)
        await self._store(self._ban_key, self._local.banned_until_ms, int(self._ban_s * 1_000))
        return self._banned(self._ban_s)

    def _banned(self, left_s: float) -> AddressBanned:
        return AddressBanned(
            "Bybit refuses this IP address (HTTP 403: too many calls, or a region it does not serve). "
            f"Nothing is sent for {left_s:.0f} s; the ban ends by itself.",
            after_s=left_s,
        )

    async def _ask(self, account: str, endpoint: Endpoint, rank: Priority, now: int) -> tuple[int, bool]:
        """(milliseconds to wait, banned); (0, False) when granted."""
        block_key = _block_key(account, endpoint)
        if self._local.banned_until_ms > now:
            return self._local.banned_until_ms - now, True
        if self._local.blocked_until_ms.get(block_key, 0) > now:
            return self._local.blocked_until_ms[block_key] - now, False
        limit = self.limit(account, endpoint)
        own_key = f"throttle:{account}:{endpoint.path}"
        if self._redis is not None and now >= self._redis_again_ms:
            self._calls += 1
            try:
                async with asyncio.timeout(_REDIS_TIMEOUT_S):
                    code, wait = await self._redis.eval(
                        _SCRIPT,
                        8,
                        self._ip_key,
                        own_key,
                        self._ban_key,
                        block_key,
                        self._filling_key,
                        f"throttle:of:{account}:{rank.name.lower()}",
                        f"{self._reconciling_key}:waited",
                        self._reconciling_key,
                        str(now),
                        str(WINDOW_MS),
                        f"{self._me}:{self._calls}",
                        str(share(self._ip_per_second, rank)),
                        str(0 if limit is None else share(limit, rank)),
                        # what protects money waits for nobody's share; public reads are nobody's
                        account if rank >= Priority.RECONCILE and limit is not None else "",
                        "1" if rank is Priority.BACKFILL else "0",
                    )
                return int(wait), int(code) == 2
            except (RedisError, OSError, TimeoutError):
                self._redis_again_ms = now + _REDIS_PAUSE_MS
        self.counts.local += 1
        # with more of them than calls a second, each has one call in some seconds
        seconds = -(-self._sharers // self._ip_per_second)
        limits = {self._ip_key: (share(_part(self._ip_per_second, 1 / self._sharers), rank), seconds * WINDOW_MS)}
        if limit is not None:
            part = LOCAL_SHARE_WRITE if endpoint.write else LOCAL_SHARE_READ
            limits[own_key] = (share(_part(limit, part), rank), WINDOW_MS)
        return self._local.take(limits, now), False

    async def _store(self, key: str, until_ms: int, left_ms: int) -> None:
        if self._redis is None:
            return
        try:
            async with asyncio.timeout(_REDIS_TIMEOUT_S):
                await self._redis.set(key, str(until_ms), px=left_ms)
        except (RedisError, OSError, TimeoutError):
            self._redis_again_ms = self._clock.wall_ms() + _REDIS_PAUSE_MS


def _block_key(account: str, endpoint: Endpoint) -> str:
    return f"throttle:block:{account}:{endpoint.path}"


def _part(limit: int, fraction: float) -> int:
    return max(1, int(limit * fraction))


class NoLimit(RateLimiter):
    """Grants every call at once: for a step clock, where business time waits for the bot. The exchange must not limit."""

    def __init__(self) -> None:
        super().__init__(None)

    async def acquire(self, account: str, endpoint: Endpoint, rank: Priority, *, wait_s: float = 30.0) -> None:
        """Granted."""
