"""Start, stop and restart of a bot whose container runs other bots too, or is kept by a swarm: through its desired state alone.

The process reads the desired states once a second (`bot_runner/shared.py`) and says in the heartbeat what it did.
"""

import asyncio

from alpha.clock import monotonic_ms
from alpha.errors import AlphaError
from alpha.live_state.read import read_heartbeat
from alpha.registry import Bot
from operations import history
from operations.command_result import CommandResult
from operations.context import Operations, redis_faults

#: A bot ends within a few seconds; its process looks at the desired state once a second.
CONFIRM_S = 15
_STOPPED = "stopped"


async def started(platform: Operations, bot: Bot, before: str | None) -> CommandResult:
    """Start the container if it does not run; `before` is the former desired state."""
    if await platform.control.start(bot.container) or before == _STOPPED:
        return CommandResult(True, f"{bot.id} is started in the container {bot.container}.")
    if before == "paused":
        return CommandResult(True, f"{bot.id} was running, paused. It runs from its next start; /resume it now.")
    return CommandResult(True, f"{bot.id} was running already.")


async def stopped(platform: Operations, bot: Bot) -> tuple[bool, str]:
    """Wait until the process says that the bot has stopped; its container runs on for the others."""
    if await _runs(platform, bot) is False:
        return True, f"{bot.id} was not running and stays stopped."
    if await _confirmed(platform, bot):
        return True, f"{bot.id} is stopped and stays stopped; the container {bot.container} runs on."
    return False, (
        f"{bot.id} is to stop, but its process has not confirmed it within {CONFIRM_S} s. /flatten {bot.id} takes the "
        f"account from it."
    )


async def restarted(platform: Operations, bot: Bot, by: str) -> CommandResult:
    """Stop the bot and start it again in its process."""
    before = (await history.desired_states(platform)).get(bot.id, "running")
    if await _runs(platform, bot) is False:
        await history.set_desired_state(platform, bot, "running" if before == _STOPPED else before, by)
        await platform.control.start(bot.container)
        return CommandResult(True, f"{bot.id} is started with the container {bot.container}.")
    await history.set_desired_state(platform, bot, _STOPPED, by)
    confirmed = await _confirmed(platform, bot)
    await history.set_desired_state(platform, bot, "running" if before == _STOPPED else before, by)
    if confirmed:
        return CommandResult(True, f"{bot.id} is restarted; the container {bot.container} ran on.")
    return CommandResult(False, f"{bot.id} has not stopped within {CONFIRM_S} s, so it was not restarted.")


async def _runs(platform: Operations, bot: Bot) -> bool | None:
    """Whether its container runs; None when that is not known."""
    try:
        return any(process.running for process in await platform.control.list() if process.container == bot.container)
    except AlphaError:
        return None


async def _confirmed(platform: Operations, bot: Bot) -> bool:
    deadline_ms = monotonic_ms() + CONFIRM_S * 1000
    while monotonic_ms() < deadline_ms:
        try:
            async with redis_faults(platform.live):
                heartbeat = await read_heartbeat(platform.live.of(bot), bot.id)
        except AlphaError:
            heartbeat = None
        if heartbeat is not None and heartbeat.state == _STOPPED:
            return True
        await asyncio.sleep(0.2)
    return False
