"""The writer of one bot's live state: changes in order, many in one script call, rebuilt when Redis lost them.

A change is a tuple of words as `apply.lua` reads them. While Redis is away only the news of fills and candles is
kept: memory holds the whole live state, and when Redis is back it is written anew, readers are told to resync, and
those news follow.
"""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from importlib.resources import files

import msgspec
from redis.exceptions import NoScriptError, RedisError

from alpha.live_state import keys
from alpha.live_state.client import TextRedis
from alpha.logs import logger

log = logger(__name__)
Change = tuple[str, ...]

_SCRIPT = files("websocket_listener").joinpath("apply.lua").read_text(encoding="utf-8")
#: A script call blocks Redis; so many changes take a few milliseconds.
_MOST_CHANGES = 1_000
_FIRST_PAUSE_S, _MOST_PAUSE_S = 0.1, 2.0
#: An answer that takes longer counts as lost.
_ANSWER_S = 10.0
#: The script's answer when the keys are another writer's, and how long to wait before they are taken back.
_ANOTHERS = -2
_CONTESTED_PAUSE_S = 1.0


class RedisWriter:
    """Writes the changes of one bot. `rebuild` gives the changes that write its whole live state anew."""

    def __init__(
        self,
        redis: TextRedis,
        bot: str,
        *,
        rebuild: Callable[[], list[Change]],
        restored: Callable[[], None],
        confirm: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """`redis` is a client that nothing else uses (`RedisLinks.writer`). `restored` is called after Redis was lost and
        written anew. `confirm` returns once it is certain that no other listener may write this bot's state; it is asked
        when another one has."""
        self.lag_s = 0.0
        self.ignored = 0
        self.lost_since_s: float | None = time.monotonic()
        self._redis = redis
        self._bot = bot
        self._rebuild = rebuild
        self._restored = restored
        self._confirm = confirm
        self._taken_away = False
        self._token = secrets.token_hex(8)
        self._sha = ""
        self._waiting: list[Change] = []
        self._owed: deque[Change] = deque(maxlen=keys.EVENTS_KEPT)
        self._oldest_s = 0.0
        self._wake = asyncio.Event()
        self._started = False
        self._idle = asyncio.Event()

    @property
    def away(self) -> bool:
        """True while Redis cannot be written, or before it was written first."""
        return self.lost_since_s is not None

    def put(self, change: Change) -> None:
        """Write this change after all that were put before. While Redis is away only news of fills and
        candles is kept."""
        if self.lost_since_s is not None:
            self._owe((change,))
            return
        if not self._waiting:
            self._oldest_s = time.monotonic()
            self._wake.set()
        self._waiting.append(change)

    def start(self) -> None:
        """Memory holds the truth from now on: write it whole, then every change."""
        self._started = True
        self._wake.set()

    def lose(self, why: str) -> None:
        """What Redis holds is not to be trusted any more: write it anew."""
        if self.lost_since_s is None:
            log.warning("live_state_lost", bot=self._bot, why=why)
            self.lost_since_s = time.monotonic()
        self._owe(self._waiting)
        self._waiting = []
        self._wake.set()

    def _owe(self, changes: Iterable[Change]) -> None:
        """Every fill and every closed candle is told at least once, whatever became of the other news."""
        self._owed.extend(change for change in changes if change[:2] in {("EVENT", "fill"), ("EVENT", "candle")})

    async def flushed(self) -> None:
        """Wait until nothing waits to be written."""
        while self._waiting and not self.away:
            self._idle.clear()
            await self._idle.wait()

    async def run(self) -> None:
        """Write until cancelled."""
        pause_s = _FIRST_PAUSE_S
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self._started:
                continue
            try:
                if self.lost_since_s is not None:
                    await self._make_sure()
                    await self._write_anew()
                    pause_s = _FIRST_PAUSE_S
                while self._waiting:
                    await self._write_waiting()
                self._idle.set()
            except (RedisError, OSError, TimeoutError) as fault:
                self.lose(f"{type(fault).__name__}: {fault}")
                self._idle.set()
                await asyncio.sleep(pause_s)
                pause_s = min(_MOST_PAUSE_S, pause_s * 2)
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
            self._taken_away = answer == _ANOTHERS
            self.lose("another listener has taken its keys" if self._taken_away else "its keys are gone")
            self._wake.set()
            return
        if answer:
            # memory took it as news and is the truth: what Redis holds as newer is damage that an earlier process left
            self.ignored += answer
            self.lose("it claims to be newer than what the exchange says")
            self._wake.set()
        self.lag_s = time.monotonic() - oldest_s

    async def _make_sure(self) -> None:
        """Another listener has written over ours: it is the one that may, or we are."""
        if self._taken_away and self._confirm is not None:
            await self._confirm()
            log.warning("live_state_contested", bot=self._bot, what="taken back: the lease is ours")
            await asyncio.sleep(_CONTESTED_PAUSE_S)
        self._taken_away = False

    async def _write_anew(self) -> None:
        async with asyncio.timeout(_ANSWER_S):
            await self._redis.ping()
        # changes that happen from here on are put after the rebuild; the rebuild itself is taken in one step
        lost_since_s, self.lost_since_s = self.lost_since_s, None
        owed = list(self._owed)
        changes: list[Change] = [("TAKE",), *self._rebuild(), *owed]
        try:
            await self._apply(changes)
        except BaseException:
            self.lost_since_s = lost_since_s
            self._owe(self._waiting)
            self._waiting = []
            raise
        for _ in owed:
            self._owed.popleft()
        self._restored()

    async def _apply(self, changes: list[Change]) -> int:
        arguments = (self._bot, self._token, str(keys.EVENTS_KEPT), msgspec.msgpack.encode(changes))
        async with asyncio.timeout(_ANSWER_S):
            if not self._sha:
                self._sha = await self._redis.script_load(_SCRIPT)
            try:
                return int(await self._redis.evalsha(self._sha, 0, *arguments))
            except NoScriptError:
                self._sha = await self._redis.script_load(_SCRIPT)
                return int(await self._redis.evalsha(self._sha, 0, *arguments))
