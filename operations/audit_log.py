"""The audit log of every command attempt: who, where, what, and how it ended."""

import uuid
from dataclasses import dataclass

from alpha.postgres.sql import queries
from operations.context import Operations
from operations.storable import storable

SQL = queries(__file__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt. `id` is unique; `role` is empty for a stranger."""

    id: str
    source: str
    issuer: str
    role: str
    chat: str
    name: str
    bot: str
    arguments: dict[str, str]

    @property
    def by(self) -> str:
        """Who orders it, as bots and guard record it."""
        return f"{self.source}:{self.issuer}"


def new_id(source: str) -> str:
    """A new id for an attempt."""
    return f"{source}:{uuid.uuid4().hex}"


async def note_attempt(platform: Operations, attempt: Attempt, outcome: str, answer: str = "") -> bool:
    """Write the attempt; False if its id was written before. Raises Retry while PostgreSQL is unavailable.

    Raises Rejected if PostgreSQL refuses a value: the same row would be refused again.
    """
    written = await platform.history.value(
        SQL["record"],
        *(
            storable(text)
            for text in (
                attempt.id,
                attempt.source,
                attempt.issuer,
                attempt.role,
                attempt.chat,
                attempt.name,
                attempt.bot,
            )
        ),
        {storable(name): storable(value) for name, value in attempt.arguments.items()},
        outcome,
        storable(answer, 2000),
    )
    return written is not None


async def note_outcome(platform: Operations, attempt_id: str, outcome: str, answer: str) -> None:
    """Write how an attempt ended. Raises Retry while PostgreSQL is unavailable."""
    await platform.history.value(
        SQL["finish"],
        attempt_id,
        outcome,
        storable(answer, 2000),
    )


async def interrupted_attempts(platform: Operations, source: str, answer: str) -> list[str]:
    """Mark confirmed attempts of `source` without an outcome as failed, with this answer; return those of the last day.

    As they were typed: `/flatten shortseller_001`. Raises Retry while PostgreSQL is unavailable.
    """
    rows = await platform.history.rows(SQL["abandon"], source, answer)
    return [f"/{row['name']} {row['bot']}".strip() for row in rows if row["recent"]]
