"""Bot control through the guard, for the dashboard: it reaches neither Docker nor the demo's supervisor itself."""

from alpha import clock
from alpha.errors import Rejected
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.registry import SHARED_DB
from bot_control.interface import Process, Unseen
from operations.control_channel import ask, silent

#: The guard's commands, and what it answers when there was nothing to do.
START, STOP, RESTART = "start_container", "stop_container", "restart_container"
NOTHING_TO_DO = "nothing to do"
#: A stop waits for the process to end.
_ANSWER_S = 60


class GuardControl:
    """Starts, stops and restarts the containers of bots by commands to the guard."""

    def __init__(self, live: RedisClients) -> None:
        self._live = live

    async def list(self) -> list[Process]:
        """Nothing: no containers are visible from here."""
        raise Unseen("Containers are not visible from here.")

    async def start(self, container: str) -> bool:
        """Start it; False if it was already running."""
        return await self._ask(START, container, 0)

    async def stop(self, container: str, grace_s: int = 10) -> bool:
        """Stop it and wait until it has ended; False if it was not running."""
        return await self._ask(STOP, container, grace_s)

    async def restart(self, container: str, grace_s: int = 10) -> None:
        """Stop it and start it again."""
        await self._ask(RESTART, container, grace_s)

    async def logs(self, container: str, lines: int) -> str:
        """Refused: the dashboard reads log files."""
        raise Rejected(f"The log of {container} is on the page of logs.")

    async def close(self) -> None:
        """Nothing to close."""

    async def _ask(self, command: str, container: str, grace_s: int) -> bool:
        args = {"container": container, "grace_s": str(grace_s)}
        answer = await ask(
            self._live, SHARED_DB, keys.GUARD, command, args, "dashboard", silent, _ANSWER_S, clock.wall_ms()
        )
        if not answer.done:
            raise Rejected(answer.text)
        return answer.text != NOTHING_TO_DO
