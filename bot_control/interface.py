"""What the command centre and the guard may do with containers or processes, and nothing more."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class ProcessState(StrEnum):
    """What a container or process does now."""

    RUNNING = "running"
    RESTARTING = "restarting"
    EXITED = "exited"
    CREATED = "created"
    PAUSED = "paused"
    DEAD = "dead"
    REMOVING = "removing"


@dataclass(frozen=True, slots=True)
class Process:
    """One container, or one process of the demo. `healthy` is None where no health check speaks."""

    container: str
    state: ProcessState
    healthy: bool | None
    detail: str
    started_at: datetime | None = None

    @property
    def running(self) -> bool:
        """True while it runs."""
        return self.state is ProcessState.RUNNING


class BotControl(Protocol):
    """Start, stop, restart, logs and a list; of the registry's own bots only.

    Every call raises Retry while the other side is away, Rejected when it refuses, both in one sentence.
    """

    async def list(self) -> list[Process]:
        """Bots and services that exist, running or not."""
        ...

    async def start(self, container: str) -> bool:
        """Start it; False when it was running already."""
        ...

    async def stop(self, container: str, grace_s: int = 10) -> bool:
        """Stop it and wait until it has ended, by force after `grace_s`; False when it was not running."""
        ...

    async def restart(self, container: str, grace_s: int = 10) -> None:
        """Stop it as `stop` does, and start it again."""
        ...

    async def logs(self, container: str, lines: int) -> str:
        """Its last lines of output, oldest first."""
        ...

    async def close(self) -> None:
        """Let go of the connection."""
        ...
