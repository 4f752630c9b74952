"""Commands are claimed once, in the audit log before they begin, and end there with their outcome."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from alpha.config.services import DatabaseSettings
from alpha.errors import Rejected, Retry
from alpha.postgres.database import connect
from operations.audit_log import Attempt
from operations.audited_commands import AuditedCommands
from operations.command_result import CommandResult
from operations.context import History, Operations

ATTEMPT = Attempt("terminal:1", "terminal", "anna", "owner", "", "flatten", "", {"words": "lxalgo"})


async def entries(platform: Operations) -> list[tuple[str, str, str | None, bool]]:
    """(id, outcome, answer, whether it has ended) of every attempt."""
    rows = await platform.history.rows(
        "SELECT command_id, outcome, answer, finished_at IS NOT NULL AS ended FROM audit.commands ORDER BY command_id"
    )
    return [(row["command_id"], row["outcome"], row["answer"], row["ended"]) for row in rows]


async def nobody(sentence: str) -> None:
    raise AssertionError(f"nothing had to be said: {sentence}")


async def test_a_command_is_in_the_audit_before_it_begins_and_ends_there(platform: Operations) -> None:
    during: list[Any] = []

    async def act() -> CommandResult:
        during.extend(await entries(platform))
        return CommandResult(True, "Flat.")

    assert await AuditedCommands(platform, "The test").run(ATTEMPT, act, nobody) == CommandResult(True, "Flat.")
    assert during == [("terminal:1", "confirmed", None, False)]
    assert await entries(platform) == [("terminal:1", "done", "Flat.", True)]


@pytest.mark.parametrize("buffered", [False, True])
async def test_an_attempt_is_claimed_once_by_all_processes(platform: Operations, buffered: bool) -> None:
    first, second = (AuditedCommands(platform, "The test", buffered=buffered) for _ in range(2))
    assert await first.claim(ATTEMPT, "confirmed")
    assert not await first.claim(ATTEMPT, "confirmed")
    assert not await second.claim(ATTEMPT, "confirmed")


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        (Rejected("There is no position."), "There is no position."),
        (ZeroDivisionError(), "An unforeseen fault; the log has its trace."),
        (asyncio.CancelledError(), "The test was stopped while it ran."),
    ],
)
async def test_a_command_that_does_not_come_to_its_end_has_failed(
    platform: Operations, fault: BaseException, answer: str
) -> None:
    async def act() -> CommandResult:
        raise fault

    with pytest.raises(type(fault)):
        await AuditedCommands(platform, "The test").run(ATTEMPT, act, nobody)
    assert await entries(platform) == [("terminal:1", "failed", answer, True)]


async def test_a_command_runs_without_postgresql_after_saying_so(
    platform: Operations, house_database: DatabaseSettings
) -> None:
    away = replace(platform, history=History(house_database.model_copy(update={"postgres_port": 1}), "test"))
    said: list[str] = []

    async def tell(sentence: str) -> None:
        said.append(sentence)

    async def act() -> CommandResult:
        assert len(said) == 1
        return CommandResult(True, "Flat.")

    commands = AuditedCommands(away, "The test")
    assert (await commands.run(ATTEMPT, act, tell)).done
    assert len(said) == 1
    assert said[0].startswith("Not in the audit: ")
    with pytest.raises(Retry):
        await commands.claim(ATTEMPT, "confirmed")


async def test_what_was_running_when_the_process_ended_is_reported_once(
    platform: Operations, house_database: DatabaseSettings
) -> None:
    cut_off = AuditedCommands(platform, "The test")
    await cut_off.claim(replace(ATTEMPT, bot="lxalgo_001"), "confirmed")
    await cut_off.claim(replace(ATTEMPT, id="terminal:2"), "asked")
    await cut_off.claim(replace(ATTEMPT, id="dashboard:3", source="dashboard"), "confirmed")
    after = AuditedCommands(platform, "The test")
    old = replace(ATTEMPT, id="terminal:0", bot="momentum_001")
    await cut_off.claim(old, "confirmed")
    owner = await connect(house_database, "tests")
    await owner.execute(
        "UPDATE audit.commands SET issued_at = issued_at - interval '25 hours' WHERE command_id = $1", old.id
    )
    await owner.close()
    assert await after.interrupted("terminal") == ["/flatten lxalgo_001"], "a command older than a day is not reported"
    assert await after.interrupted("terminal") == []
    assert await entries(platform) == [
        ("dashboard:3", "confirmed", None, False),
        ("terminal:0", "failed", "The test was restarted while it ran.", True),
        ("terminal:1", "failed", "The test was restarted while it ran.", True),
        ("terminal:2", "asked", None, False),
    ]
