"""How a command ended."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended: `done` or not, and the sentences to show."""

    done: bool
    text: str
