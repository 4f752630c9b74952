"""The audit log of every command attempt: who, where, what, and how it ended."""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from alpha.errors import AlphaError
from alpha.postgres.sql import queries
from operations.command_result import CommandResult
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


async def run_audited(
    platform: Operations,
    attempt: Attempt,
    act: Callable[[], Awaitable[CommandResult]],
    tell: Callable[[str], Awaitable[None]],
) -> CommandResult:
    """Carry out a confirmed command, with its entry and its outcome in the audit log.

    A command runs without its entry when PostgreSQL is away, after saying so: a panic must not fail for that.
    """
    audited = await try_note(platform, attempt, "confirmed", "", tell)
    try:
        result = await act()
    except AlphaError as fault:
        if audited:
            await _finish(platform, attempt, "failed", str(fault), tell)
        raise
    if audited:
        await _finish(platform, attempt, "done" if result.done else "failed", result.text, tell)
    return result


async def try_note(
    platform: Operations, attempt: Attempt, outcome: str, answer: str, tell: Callable[[str], Awaitable[None]]
) -> bool:
    """Write an attempt; when that fails, say so and return False."""
    try:
        await note_attempt(platform, attempt, outcome, answer)
    except AlphaError as fault:
        await tell(f"Not in the audit: {fault}")
        return False
    return True


async def _finish(
    platform: Operations, attempt: Attempt, outcome: str, answer: str, tell: Callable[[str], Awaitable[None]]
) -> None:
    try:
        await note_outcome(platform, attempt.id, outcome, answer)
    except AlphaError as fault:
        await tell(f"Its outcome is not in the audit: {fault}")
