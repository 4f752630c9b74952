"""What the command centre and the guard may do with containers or processes, and nothing more."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from alpha.errors import Retry


class ProcessState(StrEnum):
    """The current state of a container or process."""

    RUNNING = "running"
    RESTARTING = "restarting"
    EXITED = "exited"
    CREATED = "created"
    PAUSED = "paused"
    DEAD = "dead"
    REMOVING = "removing"


class Unseen(Retry):
    """Processes cannot be seen from here, by design: live state alone says what runs. No fault."""


@dataclass(frozen=True, slots=True)
class Process:
    """One container, or one process of the demo. `healthy` is None without a health check."""

    container: str
    state: ProcessState
    healthy: bool | None
    detail: str
    started_at: datetime | None = None

    @property
    def running(self) -> bool:
        """Whether it is running."""
        return self.state is ProcessState.RUNNING


class BotControl(Protocol):
    """Start, stop, restart, logs and list; controls only the registry's own bots.

    Every call raises Retry while the other side is unavailable, Rejected if it refuses, both with one sentence.
    """

    async def list(self) -> list[Process]:
        """Return the existing bots and services, running or not."""
        ...

    async def start(self, container: str) -> bool:
        """Start it; False if it was already running."""
        ...

    async def stop(self, container: str, grace_s: int = 10) -> bool:
        """Stop it and wait until it has ended, by force after `grace_s`; False if it was not running."""
        ...

    async def restart(self, container: str, grace_s: int = 10) -> None:
        """Stop it as `stop` does, and start it again."""
        ...

    async def logs(self, container: str, lines: int) -> str:
        """Return its last lines of output, oldest first."""
        ...

    async def close(self) -> None:
        """Close the connection."""
        ...
