"""The heartbeat of a bot: when it was alive, its state, and in words what it waits for."""

import secrets

from alpha.clock import wall_ms
from alpha.live_state import keys
from alpha.live_state.client import TextRedis
from alpha.live_state.connect import REDIS_UNAVAILABLE

RUNNING = "running"
PAUSED = "paused"
STOPPED = "stopped"
STARTING = "starting"


class HeartbeatWriter:
    """Writes `heartbeat:<bot>`. An unavailable Redis is not a fault of the bot."""

    def __init__(self, bot_db: TextRedis, bot_id: str) -> None:
        self._redis = bot_db
        self._key = keys.heartbeat(bot_id)
        self._writer = secrets.token_hex(4)
        self._beat = 0

    async def beat(self, state: str, waits_for: str) -> None:
        """One beat: readers judge by the counter, because clocks of two hosts cannot be compared."""
        self._beat += 1
        try:
            await self._redis.hset(
                self._key,
                mapping={
                    "alive_at": str(wall_ms()),
                    "state": state,
                    "waits_for": waits_for,
                    "writer": self._writer,
                    "beat": str(self._beat),
                },
            )
        except REDIS_UNAVAILABLE:
            return
