"""Sends a command to a bot or the guard over its control stream, and follows the replies."""

import asyncio
from collections.abc import Awaitable, Callable

from alpha.clock import monotonic_ms
from alpha.errors import Retry, Unknown
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.live_state.control import PendingCommand
from operations.command_result import CommandResult
from operations.context import redis_faults

#: Receives one sentence of progress.
Tell = Callable[[str], Awaitable[None]]


async def silent(_: str) -> None:
    """Discard progress."""


async def ask(
    live: RedisClients,
    database: int,
    target: str,
    command: str,
    args: dict[str, str],
    by: str,
    tell: Tell,
    limit_s: int,
    now_ms: int,
) -> CommandResult:
    """Send a command at `now_ms` (wall clock) and follow its replies. Raises Unknown if none is final within `limit_s`."""
    who = "The guard" if target == keys.GUARD else target
    redis = live.database(database)
    async with redis_faults(live):
        pending = await PendingCommand.send(redis, target, command, args, by, now_ms)
    deadline = monotonic_ms() + limit_s * 1000
    while monotonic_ms() < deadline:
        try:
            async with redis_faults(live):
                replies = await pending.replies(block_ms=500)
        except Retry:
            # Redis has accepted the command; the reply arrives when Redis is back.
            await asyncio.sleep(0.5)
            continue
        for reply in replies:
            if reply.outcome == "progress":
                await tell(reply.text)
            else:
                return CommandResult(reply.outcome == "done", reply.text)
    raise Unknown(
        f"{who} has not answered {command!r} within {limit_s} s. An unanswered command expires after a minute; "
        "look at /status and /positions before you send it again."
    )
