"""Bot control where an orchestrator keeps the processes running (Docker Swarm): bots follow their desired state, nothing else.

Nobody here starts, stops or lists anything: what could do that to a swarm could do anything to it (`services/update`).
"""

from alpha.errors import Rejected
from alpha.registry import Bot, Registry
from bot_control.interface import BotControl, Process, Unseen

#: BOT_CONTROL_URL in a swarm.
SWARM = "swarm:"


class DesiredState:
    """A bot control that reaches no process. The bot's own process reads its desired state once a second."""

    async def list(self) -> list[Process]:
        """Raise Unseen: the swarm's managers know where each process runs."""
        raise Unseen("The swarm keeps the processes; `docker service ls` on a manager lists them.")

    async def start(self, container: str) -> bool:
        """False: the process runs already, and takes the bot up by its desired state."""
        return False

    async def stop(self, container: str, grace_s: int = 10) -> bool:
        """Refused."""
        raise Rejected(f"{container} is kept running by the swarm; /stop acts through the desired state of its bots.")

    async def restart(self, container: str, grace_s: int = 10) -> None:
        """Refused."""
        raise Rejected(f"{container} is kept running by the swarm: `docker service update --force` on a manager.")

    async def logs(self, container: str, lines: int) -> str:
        """Refused."""
        raise Rejected(f"The swarm keeps the log: `docker service logs --tail {lines} alpha_{container}` on a manager.")

    async def close(self) -> None:
        """Nothing to close."""


def follows_desired_state(control: BotControl, registry: Registry, bot: Bot) -> bool:
    """Whether this bot is started and stopped through its desired state alone: in a swarm, or in a container with others."""
    return isinstance(control, DesiredState) or registry.is_shared(bot)
