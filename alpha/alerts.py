"""Alerts for the operator: one stream in Redis database 15, read by the command centre."""

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from redis.exceptions import RedisError

from alpha.live_state import keys
from alpha.live_state.client import TextRedis
from alpha.logs import logger

log = logger(__name__)


class Level(StrEnum):
    """Urgency: `CRITICAL` overrides quiet hours and is repeated until acknowledged."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


#: In the place of a level: the trouble of this key has ended.
OVER: Final = "over"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. `key` identifies the problem, so that repeats can be grouped; `remedy` says what to do."""

    level: Level | Literal["over"]
    key: str
    text: str
    remedy: str = ""
    bot: str = ""
    #: It is raised once and lasts, for days perhaps, until `resolve` tells its end: its silence says nothing.
    lasting: bool = False


class Alerts:
    """Raises alerts: always logged, and sent to Redis; during an outage the newest are kept and sent later."""

    _KEPT_WHILE_AWAY = 1_000
    _KEYS_REMEMBERED = 1_000

    def __init__(self, shared_db: TextRedis, service: str) -> None:
        self._redis = shared_db
        self.service = service
        self._waiting: list[tuple[Alert, int]] = []
        self._raised_ms: dict[str, int] = {}
        #: Keys whose end was told and that were not raised since.
        self._over: dict[str, None] = {}
        self._flushing = asyncio.Lock()

    async def raise_alert(self, alert: Alert, now_ms: int, *, again_after_ms: int = 0) -> None:
        """Raise an alert at wall-clock time `now_ms`. Never raises.

        One whose key was raised less than `again_after_ms` ago is left out.
        """
        if again_after_ms and self._is_repeat(alert.key, now_ms, again_after_ms):
            return
        event = log.critical if alert.level is Level.CRITICAL else log.warning
        event("alert", level=alert.level, key=alert.key, text=alert.text, remedy=alert.remedy, bot=alert.bot)
        self._over.pop(alert.key, None)
        await self._put(alert, now_ms)

    async def resolve(self, key: str, now_ms: int, *, bot: str = "") -> None:
        """The trouble of this key has ended, as its watcher sees at wall-clock time `now_ms`. Never raises.

        For every look that finds it well: it is told once until the trouble comes back. A service that has just started
        tells it as well, since the one before it may have raised it; the command centre passes over what nobody raised.
        """
        if key in self._over:
            return
        self._over[key] = None
        if len(self._over) > self._KEYS_REMEMBERED:
            del self._over[next(iter(self._over))]
        self._raised_ms.pop(key, None)
        await self._put(Alert(OVER, key, "It is over.", bot=bot), now_ms)

    async def _put(self, alert: Alert, now_ms: int) -> None:
        self._waiting = [*self._waiting, (alert, now_ms)][-self._KEPT_WHILE_AWAY :]
        await self.flush()

    def _is_repeat(self, key: str, now_ms: int, again_after_ms: int) -> bool:
        """Whether this key was raised just now; if not, it is from now on."""
        raised_ms = self._raised_ms.get(key)
        if raised_ms is not None and 0 <= now_ms - raised_ms < again_after_ms:
            return True
        self._raised_ms[key] = now_ms
        if len(self._raised_ms) > self._KEYS_REMEMBERED:
            del self._raised_ms[min(self._raised_ms, key=self._raised_ms.__getitem__)]
        return False

    @property
    def shared(self) -> TextRedis:
        """The database that all services share."""
        return self._redis

    @property
    def unsent(self) -> list[tuple[Alert, int]]:
        """Alerts not yet accepted by Redis, each with its time; oldest first."""
        return list(self._waiting)

    async def flush(self) -> None:
        """Send pending alerts, oldest first, as far as Redis accepts them."""
        # two tasks raise at once: without the lock both would send the first one
        async with self._flushing:
            while self._waiting:
                first = self._waiting[0]
                if not await self._send(*first):
                    return
                if self._waiting and self._waiting[0] is first:
                    self._waiting.pop(0)

    async def _send(self, alert: Alert, raised_ms: int) -> bool:
        try:
            await self._redis.xadd(
                keys.ALERTS,
                {
                    "level": alert.level,
                    "key": alert.key,
                    "text": alert.text,
                    "remedy": alert.remedy,
                    "bot": alert.bot,
                    "service": self.service,
                    "raised_ms": str(raised_ms),
                    "lasting": str(int(alert.lasting)),
                },
                maxlen=keys.ALERTS_KEPT,
                approximate=True,
            )
        except (RedisError, OSError):
            return False
        return True
