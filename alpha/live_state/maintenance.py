"""Announced maintenance of the exchange, as the listener writes it for everybody: database 15, `venue:maintenance`."""

from collections.abc import Iterable

import msgspec
from redis.exceptions import RedisError

from alpha.live_state import keys
from alpha.live_state.client import TextRedis


class MaintenanceWindow(msgspec.Struct, frozen=True):
    """One window; times are the exchange's, in milliseconds. `end_ms` is None when it is not known."""

    id: str
    title: str
    begin_ms: int
    end_ms: int | None

    def ongoing(self, now_ms: int) -> bool:
        """Whether it is on at exchange time `now_ms`."""
        return self.begin_ms <= now_ms and not self.over(now_ms)

    def over(self, now_ms: int) -> bool:
        """Whether it has ended by exchange time `now_ms`."""
        return self.end_ms is not None and self.end_ms <= now_ms


class MaintenanceState(msgspec.Struct, frozen=True):
    """All announced windows that are not over, soonest first, and whether one of them is on now."""

    windows: list[MaintenanceWindow] = []
    ongoing: bool = False


async def in_maintenance(shared: TextRedis) -> bool:
    """Whether an announced maintenance is on; False while Redis does not answer."""
    try:
        return (await read_maintenance(shared)).ongoing
    except (RedisError, OSError, TimeoutError):
        return False


_decode = msgspec.json.Decoder(MaintenanceState)


async def write_maintenance(shared: TextRedis, windows: Iterable[MaintenanceWindow], now_ms: int) -> None:
    """Replace what is announced, as seen at exchange time `now_ms`. Raises Redis errors."""
    left = sorted((window for window in windows if not window.over(now_ms)), key=lambda window: window.begin_ms)
    state = MaintenanceState(left, any(window.ongoing(now_ms) for window in left))
    await shared.set(keys.MAINTENANCE, msgspec.json.encode(state).decode())


async def read_maintenance(shared: TextRedis) -> MaintenanceState:
    """What is announced; nothing when the listener has never written or what stands there cannot be read."""
    text = await shared.get(keys.MAINTENANCE)
    try:
        return MaintenanceState() if text is None else _decode.decode(text)
    except msgspec.DecodeError:
        return MaintenanceState()
