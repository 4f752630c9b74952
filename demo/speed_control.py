"""The demo's pace: the market runs as fast as the bots evaluate its candles, and no faster than was asked for.

A market that ran away from its bots would show nothing but entries that came too late.
"""

from collections.abc import Mapping

from alpha.clock import wall_ms
from alpha.errors import AlphaError
from alpha.live_state import keys
from alpha.live_state.connect import REDIS_UNAVAILABLE
from alpha.live_state.read import read_heartbeat, read_status
from alpha.model.timestamp import ms_of
from alpha.postgres.database import POSTGRES_ERRORS
from operations import history
from operations.context import Operations
from operations.positions import trusted

#: The slowest market: five minutes of it in a second and a half.
SLOWEST = 200
#: The speed to begin with, once the bots are ready.
FIRST = 2_000
#: More bars than this behind the market, and it slows down.
MOST_BEHIND = 1.5
_SLOWER = 0.7
#: States of a heartbeat of a bot that trades, or would.
_BEGUN = {"running", "paused"}
#: A heartbeat older than this is of the run before.
_FRESH_MS = 8_000
_FASTER = 1.25


class SpeedControl:
    """Chooses the speed from how far the slowest bot is behind."""

    def __init__(self, fastest: int) -> None:
        """`fastest` is the speed asked for: seconds of the market in a second."""
        self._fastest = fastest
        self.speed = min(fastest, SLOWEST)

    def begin(self) -> None:
        """The bots are ready: from the slowest to a brisk speed at once."""
        self.speed = min(self._fastest, FIRST)

    def next_speed(self, behind: float | None) -> int:
        """The speed from now on; `behind` is how many bars the slowest bot is behind, None when nobody knows."""
        if behind is not None:
            factor = _SLOWER if behind > MOST_BEHIND else _FASTER
            self.speed = max(min(SLOWEST, self._fastest), min(self._fastest, round(self.speed * factor)))
        return self.speed


async def bots_ready(platform: Operations) -> bool:
    """Whether every bot has begun: its live data is true, and it is past what it waits for at its start.

    A bot that is paused or stopped by wish is as ready as it will be.
    """
    try:
        wishes = await history.wishes(platform)
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
    """Of each bot the bar that it will evaluate next: when it closes, exchange time, and its length, both in ms.

    A bot is measured by the newest bar whose evaluation it has made durable; one without any is left out. Empty when
    nobody can be asked.
    """
    closes: dict[str, tuple[int, int]] = {}
    try:
        rows = await platform.history.rows(
            "SELECT bot_id, (state ->> 'last_bar_ms')::bigint AS last_bar_ms FROM trading.strategy_state WHERE name = 'core'"
        )
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
    """How many bars the slowest bot is behind the market at exchange time `now_ms`. None while no bot has one."""
    return max(((now_ms - close_ms) / length_ms for close_ms, length_ms in closes.values()), default=None)
