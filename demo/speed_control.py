"""Speed control: the market runs as fast as the bots evaluate its candles, up to the configured speed.

If the market outran the bots, the demo would show only late entries.
"""

from collections.abc import Mapping

from alpha.clock import wall_ms
from alpha.errors import AlphaError
from alpha.live_state import keys
from alpha.live_state.connect import REDIS_UNAVAILABLE
from alpha.live_state.read import read_heartbeat, read_status
from alpha.model.timestamp import ms_of
from alpha.postgres.database import POSTGRES_ERRORS
from alpha.postgres.sql import queries
from operations import history
from operations.context import Operations
from operations.positions import trusted

SQL = queries(__file__)

#: The slowest market: five minutes pass in 1.5 s.
SLOWEST = 200
#: Initial speed once the bots are ready.
FIRST = 2_000
#: The market slows down when the slowest bot is more bars behind than this.
MOST_BEHIND = 1.5
_SLOWER = 0.7
#: Heartbeat states of a bot that is trading or paused.
_BEGUN = {"running", "paused"}
#: An older heartbeat is from the previous run.
_FRESH_MS = 8_000
_FASTER = 1.25


class SpeedControl:
    """Chooses the speed from the lag of the slowest bot."""

    def __init__(self, fastest: int) -> None:
        """`fastest` is the configured speed: market seconds per real second."""
        self._fastest = fastest
        self.speed = min(fastest, SLOWEST)

    def begin(self) -> None:
        """Jump from the slowest to the initial speed once the bots are ready."""
        self.speed = min(self._fastest, FIRST)

    def next_speed(self, behind: float | None) -> int:
        """The speed from now on; `behind` is the lag of the slowest bot in bars, None when unknown."""
        if behind is not None:
            factor = _SLOWER if behind > MOST_BEHIND else _FASTER
            self.speed = max(min(SLOWEST, self._fastest), min(self._fastest, round(self.speed * factor)))
        return self.speed


async def bots_ready(platform: Operations) -> bool:
    """Whether every bot has started: its live data is synced, and it has passed its startup waits.

    A bot paused or stopped by the operator counts as ready.
    """
    try:
        wishes = await history.desired_states(platform)
        for bot in platform.registry.bots:
            if wishes.get(bot.id) == "stopped":
                continue
            live = await read_status(platform.live.of(bot), bot.id)
            heartbeat = await read_heartbeat(platform.live.of(bot), bot.id)
            if not trusted(live) or heartbeat is None or heartbeat.state not in _BEGUN:
                return False
            if wall_ms() - ms_of(heartbeat.alive_at) > _FRESH_MS:
                return False
    except (AlphaError, *REDIS_UNAVAILABLE, *POSTGRES_ERRORS):
        return False
    return True


async def next_closes(platform: Operations) -> dict[str, tuple[int, int]]:
    """Maps each bot to the bar it will evaluate next: close time (exchange time) and length, both in ms.

    Derived from the newest bar whose evaluation the bot has persisted; bots without one are omitted. Empty when the
    stores are unavailable.
    """
    closes: dict[str, tuple[int, int]] = {}
    try:
        rows = await platform.history.rows(SQL["last_bars"])
        for row in rows:
            bot = platform.registry.find(row["bot_id"])
            intervals = await platform.live.of(bot).smembers(keys.intervals(bot.id))
            lengths = [int(text) for text in intervals if text.isdigit()]
            if not lengths or row["last_bar_ms"] is None or row["last_bar_ms"] < 0:
                continue
            length_ms = min(lengths) * 60_000
            # The bar that starts at last_bar_ms was evaluated; the next one closes two lengths later.
            closes[bot.id] = (row["last_bar_ms"] + 2 * length_ms, length_ms)
    except (AlphaError, *REDIS_UNAVAILABLE, *POSTGRES_ERRORS):
        return {}
    return closes


def bars_behind(closes: Mapping[str, tuple[int, int]], now_ms: int) -> float | None:
    """Lag of the slowest bot behind the market at exchange time `now_ms`, in bars. None while no bot has a bar."""
    return max(((now_ms - close_ms) / length_ms for close_ms, length_ms in closes.values()), default=None)
