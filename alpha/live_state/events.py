"""Reads `events:<bot>` from a remembered id, with a `resync` wherever events may have been missed.

The hashes are authoritative, events are hints: on a resync the reader reads the hashes again and continues.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum

import msgspec
from redis.exceptions import ResponseError

from alpha.live_state import keys
from alpha.live_state.client import TextRedis


class EventType(StrEnum):
    """What changed."""

    FILL = "fill"
    ORDER = "order"
    POSITION = "position"
    WALLET = "wallet"
    STATUS = "status"
    RESYNC = "resync"
    CANDLE = "candle"


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `data` is the row as the listener wrote it; `id` is where to resume after it."""

    id: str
    type: EventType
    ts_ms: int
    data: dict[str, object]


class EventReader:
    """Follows one bot's events. `last_id` is "$" for "from now", or the id to resume after."""

    def __init__(self, bot_db: TextRedis, bot: str, last_id: str = "$") -> None:
        self._redis = bot_db
        self._key = keys.events(bot)
        self.last_id = last_id

    async def read(self, block_ms: int = 1_000, count: int = 500) -> list[Event]:
        """The next events; empty after `block_ms` without any. Starts with a resync if some may be missing.

        Raises `alpha.live_state.connect.REDIS_UNAVAILABLE` while Redis is unavailable; the reader stays usable.
        """
        if self.last_id == "$":
            self.last_id = await self._newest()
        elif not await self._continuous():
            self.last_id = await self._newest()
            return [Event(self.last_id, EventType.RESYNC, 0, {})]
        answer = await self._redis.xread({self._key: self.last_id}, count=count, block=block_ms)
        rows = answer[0][1] if answer else []
        events = [parse_event(entry_id, fields) for entry_id, fields in rows]
        if events:
            self.last_id = events[-1].id
        return events

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            for event in await self.read():
                yield event

    async def _newest(self) -> str:
        rows = await self._redis.xrevrange(self._key, count=1)
        return str(rows[0][0]) if rows else "0-0"

    async def _continuous(self) -> bool:
        """Whether everything after `last_id` still exists: neither trimmed nor lost in a restart."""
        if self.last_id == "0-0":
            return True
        try:
            info = await self._redis.xinfo_stream(self._key)
        except ResponseError:
            return False
        if _order(self.last_id) > _order(str(info["last-generated-id"])):
            return False
        first = info["first-entry"]
        return first is not None and _order(str(first[0])) <= _order(self.last_id)


def parse_event(entry_id: str, fields: dict[str, str]) -> Event:
    """The event in a stream entry."""
    return Event(entry_id, EventType(fields["type"]), int(fields["ts_ms"]), msgspec.json.decode(fields["data"]))


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number or 0)
