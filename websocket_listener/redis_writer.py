"""The writer of one bot's live state: changes in order, many in one script call, rebuilt when Redis lost them.

A change is a tuple of words as `apply.lua` reads them. While Redis is unavailable only the news of fills and candles is
kept: memory holds the whole live state, and when Redis is back it is written anew, readers are told to resync, and
those news follow.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import Protocol

import msgspec
from redis.exceptions import NoScriptError, RedisError

from alpha.clock import SYSTEM_CLOCK, Backoff, boottime_ms
from alpha.errors import Retry
from alpha.lease import Act, LeaseLost
from alpha.live_state import keys
from alpha.live_state.client import TextRedis
from alpha.logs import logger

log = logger(__name__)
Change = tuple[str, ...]

_SCRIPT = files("websocket_listener").joinpath("apply.lua").read_text(encoding="utf-8")
#: A script call blocks Redis; so many changes take a few milliseconds.
_MOST_CHANGES = 1_000
_BACKOFF = Backoff(0.1, 2.0)
#: An answer that takes longer counts as lost.
_ANSWER_S = 10.0
#: The script's answers when the keys are another writer's, and when the lease must be proved first.
_ANOTHERS, _UNPROVED = -2, -3


class WriteFence(Protocol):
    """The lease under which live state is written."""

    @property
    def token(self) -> int:
        """The fence of each write."""

    async def ready(self, act: Act) -> None:
        """Raises unless it may be done now; asks PostgreSQL where the deadline has passed."""

    async def prove(self) -> bool:
        """Ask PostgreSQL now; False while it does not answer."""


class RedisWriter:
    """Writes the changes of one bot. `rebuild` returns the changes that rewrite its whole live state."""

    def __init__(
        self,
        redis: TextRedis,
        bot: str,
        fence: WriteFence,
        *,
        rebuild: Callable[[], list[Change]],
        restored: Callable[[], None],
        owed: Iterable[Change] = (),
    ) -> None:
        """`redis` is a client that nothing else uses (`RedisClients.writer`). `restored` is called after Redis was lost and
        written anew. `owed` are events that are published with the first write."""
        self.lag_s = 0.0
        self.ignored = 0
        self.lost_since_s: float | None = time.monotonic()
        self._redis = redis
        self._bot = bot
        self._rebuild = rebuild
        self._restored = restored
        self._fence = fence
        self._proof_due = False
        self._sha = ""
        #: Redis's clock less that of this machine since its boot.
        self._redis_ahead_ms: int | None = None
        self._waiting: list[Change] = []
        self._owed: deque[Change] = deque(owed, maxlen=keys.EVENTS_KEPT)
        self._oldest_s = 0.0
        self._wake = asyncio.Event()
        self._wake.set()
        self._idle = asyncio.Event()

    @property
    def away(self) -> bool:
        """True while Redis cannot be written, or before it was written first."""
        return self.lost_since_s is not None

    def put(self, change: Change) -> None:
        """Write this change after all that were put before. While Redis is unavailable only news of fills and
        candles is kept."""
        if self.lost_since_s is not None:
            self._owe((change,))
            return
        if not self._waiting:
            self._oldest_s = time.monotonic()
            self._wake.set()
        self._waiting.append(change)

    def lose(self, why: str) -> None:
        """Redis is no longer trusted: rewrite it."""
        if self.lost_since_s is None:
            log.warning("live_state_lost", bot=self._bot, why=why)
            self.lost_since_s = time.monotonic()
        self._owe(self._waiting)
        self._waiting = []
        self._wake.set()

    def _owe(self, changes: Iterable[Change]) -> None:
        """Publish every fill and every closed candle at least once, even if other events were dropped."""
        self._owed.extend(change for change in changes if change[:2] in {("EVENT", "fill"), ("EVENT", "candle")})

    async def flushed(self) -> None:
        """Wait until nothing waits to be written."""
        while self._waiting and not self.away:
            self._idle.clear()
            await self._idle.wait()

    async def run(self) -> None:
        """Write until cancelled. Raises LeaseLost when another listener records this bot, or has with a newer token."""
        failures = 0
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                if self.lost_since_s is not None:
                    await self._write_anew()
                    failures = 0
                while self._waiting:
                    await self._write_waiting()
                self._idle.set()
            except (RedisError, OSError, TimeoutError, Retry) as fault:
                self.lose(f"{type(fault).__name__}: {fault}")
                self._idle.set()
                failures += 1
                await asyncio.sleep(_BACKOFF.pause_s(failures, SYSTEM_CLOCK.random()))
                self._wake.set()

    async def _write_waiting(self) -> None:
        changes, oldest_s = self._waiting, self._oldest_s
        if len(changes) > _MOST_CHANGES:
            changes, self._waiting = changes[:_MOST_CHANGES], changes[_MOST_CHANGES:]
        else:
            self._waiting = []
        try:
            answer = await self._apply(changes)
        except BaseException:
            self._owe(changes)
            raise
        if answer < 0:
            self._owe(changes)
            self._proof_due = answer == _ANOTHERS
            self.lose("another listener has taken its keys" if self._proof_due else "its keys are gone")
            self._wake.set()
            return
        if answer:
            # memory took it as news and is the truth: what Redis holds as newer is damage that an earlier process left
            self.ignored += answer
            self.lose("it claims to be newer than what the exchange says")
            self._wake.set()
        self.lag_s = time.monotonic() - oldest_s

    async def _prove(self) -> None:
        """Another listener has written, or nobody's token stands there: only PostgreSQL knows whose the lease is."""
        if not await self._fence.prove():
            raise Retry("PostgreSQL does not say whose live state this is.")

    async def _write_anew(self, *, proved: bool = False) -> None:
        if self._proof_due and not proved:
            await self._prove()
        async with asyncio.timeout(_ANSWER_S):
            await self._redis.ping()
        # changes that happen from here on are put after the rebuild; the rebuild itself is taken in one step
        lost_since_s, self.lost_since_s = self.lost_since_s, None
        owed = list(self._owed)
        changes: list[Change] = [("TAKE",), *self._rebuild(), *owed]
        try:
            answer = await self._apply(changes, proved=proved)
        except BaseException:
            self._not_written(lost_since_s)
            raise
        if answer < 0:
            self._not_written(lost_since_s)
            await self._prove()
            if answer == _ANOTHERS:
                # PostgreSQL came back older than it was: the lease is ours again, under a token that will never be taken
                raise LeaseLost(f"Redis holds a newer token of {self._bot} than this lease's: it is taken anew.")
            if proved:
                raise Retry("Redis does not take a lease that was just proved.")
            await self._write_anew(proved=True)
            return
        self._proof_due = False
        for _ in owed:
            self._owed.popleft()
        self._restored()

    def _not_written(self, lost_since_s: float | None) -> None:
        self.lost_since_s = lost_since_s
        self._owe(self._waiting)
        self._waiting = []

    async def _apply(self, changes: list[Change], *, proved: bool = False) -> int:
        # a listener that was frozen asks before it writes; while PostgreSQL is unavailable nobody can have taken over
        await self._fence.ready(Act.REDUCE)
        async with asyncio.timeout(_ANSWER_S):
            if not self._sha:
                self._sha = await self._redis.script_load(_SCRIPT)
            try:
                answer = await self._redis.evalsha(self._sha, 0, *self._arguments(changes, proved))
            except NoScriptError:
                self._sha = await self._redis.script_load(_SCRIPT)
                answer = await self._redis.evalsha(self._sha, 0, *self._arguments(changes, proved))
        # Read late it is too small, and the next status counts as later than it is: the safe side.
        self._redis_ahead_ms = int(answer[0]) - boottime_ms()
        return int(answer[1])

    def _arguments(self, changes: list[Change], proved: bool) -> tuple[str, str, str, bytes, str, str]:
        ahead_ms = self._redis_ahead_ms
        sent_ms = "" if ahead_ms is None else str(boottime_ms() + ahead_ms)
        encoded = msgspec.msgpack.encode(changes)
        return (self._bot, str(self._fence.token), str(keys.EVENTS_KEPT), encoded, "1" if proved else "", sent_ms)
