"""Commands that change something: start and stop, pause and resume, adopt, flatten, panic.

The caller has already authorised, confirmed and audited each command. Progress and result are sentences passed to
`tell` and returned.
"""

from decimal import Decimal

from alpha.errors import AlphaError, Rejected
from alpha.live_state import keys
from alpha.model.money import plain
from alpha.registry import SHARED_DB, Bot
from bot_control import follows_desired_state
from operations import history, shared_control
from operations.command_result import CommandResult
from operations.context import Operations
from operations.control_channel import Tell, ask, silent
from operations.formatting import number
from operations.positions import open_order, positions

STOP_GRACE_S = 4
BOT_ANSWER_S = 15
GUARD_ANSWER_S = 180


async def start(platform: Operations, bot: Bot, by: str) -> CommandResult:
    """Set its desired state to running and start its container; restart one that idles because it was stopped."""
    before = await history.set_desired_state(platform, bot, "running", by)
    if follows_desired_state(platform.control, platform.registry, bot):
        return await shared_control.started(platform, bot, before)
    if await platform.control.start(bot.container):
        return CommandResult(True, f"{bot.id} is started.")
    if before == "stopped":
        await platform.control.restart(bot.container, STOP_GRACE_S)
        return CommandResult(True, f"{bot.id} is started.")
    if before == "paused":
        return CommandResult(True, f"{bot.id} was running, paused. It is to run from its next start; /resume it now.")
    return CommandResult(True, f"{bot.id} was running already.")


async def stop_warning(platform: Operations, bot: Bot) -> str:
    """What stopping this bot leaves open, how that is protected, and what no longer happens."""
    try:
        open_positions = await positions(platform, bot)
    except AlphaError as fault:
        return f"Its positions cannot be read now: {fault}"
    if not open_positions:
        return "It holds no position."
    lines = ["These positions stay open:"]
    for row in open_positions:
        guards = [f"stop {number(row.stop_loss).text}" if row.stop_loss else "NO STOP"]
        if row.take_profit:
            guards.append(f"target {number(row.take_profit).text}")
        if row.trailing_stop:
            guards.append(f"trailing {number(row.trailing_stop).text}")
        kept = ", kept by the exchange" if guards != ["NO STOP"] else ""
        lines.append(f"{row.symbol} {row.direction} {number(row.size).text}: {', '.join(guards)}{kept}.")
    lines.append("Exits by signal, time limit or regime no longer run until /start. /flatten closes them.")
    return "\n".join(lines)


async def stop(platform: Operations, bot: Bot, by: str) -> CommandResult:
    """Set its desired state to stopped, then stop its container. It survives upgrades and reboots; nothing is sold."""
    warning = await stop_warning(platform, bot)
    await history.set_desired_state(platform, bot, "stopped", by)
    if follows_desired_state(platform.control, platform.registry, bot):
        done, text = await shared_control.stopped(platform, bot)
        return CommandResult(done, f"{text}\n{warning}")
    stopped = await platform.control.stop(bot.container, STOP_GRACE_S)
    return CommandResult(
        True, f"{bot.id} {'is stopped' if stopped else 'was not running'} and stays stopped.\n{warning}"
    )


async def restart(platform: Operations, bot: Bot, by: str) -> CommandResult:
    """Restart its container; a desired state of `stopped` becomes `running`, a pause stays.

    In a shared container, or in a swarm, the bot alone is restarted.
    """
    if follows_desired_state(platform.control, platform.registry, bot):
        return await shared_control.restarted(platform, bot, by)
    if (await history.desired_states(platform)).get(bot.id) == "stopped":
        await history.set_desired_state(platform, bot, "running", by)
    await platform.control.restart(bot.container, STOP_GRACE_S)
    return CommandResult(True, f"{bot.id} is restarted.")


async def pause(platform: Operations, bot: Bot, by: str) -> CommandResult:
    """Stop new entries from now on; open positions stay managed. Durable."""
    return await _set_and_tell(platform, bot, by, "paused", "pause")


async def resume(platform: Operations, bot: Bot, by: str) -> CommandResult:
    """Lift a pause and the guard's halts on this bot. Rejected for a stopped bot, which must be started first."""
    if (await history.desired_states(platform)).get(bot.id) == "stopped":
        raise Rejected(f"{bot.id} was stopped by an operator: /start it first, then /resume it.")
    held = [
        halt
        for halt in await history.halts(platform, bot)
        if halt.bot in ("", bot.id) and halt.kind != history.BLACKLIST
    ]
    if held:
        lifted = await _ask_guard(platform, "lift", {"bot": bot.id}, by, silent, BOT_ANSWER_S)
        if not lifted.done:
            return lifted
    return await _set_and_tell(platform, bot, by, "running", "resume")


async def _set_and_tell(platform: Operations, bot: Bot, by: str, wish: str, command: str) -> CommandResult:
    before = (await history.desired_states(platform)).get(bot.id)
    if before == "stopped":
        raise Rejected(f"{bot.id} was stopped by an operator: /start it first.")
    await history.set_desired_state(platform, bot, wish, by)
    try:
        return await ask(platform.live, bot.redis_db, bot.id, command, {}, by, silent, BOT_ANSWER_S, platform.wall_ms())
    except AlphaError as fault:
        return CommandResult(False, f"The command is kept and holds from the next start of {bot.id}. {fault}")


async def adopt(platform: Operations, bot: Bot, symbol: str, by: str) -> CommandResult:
    """Let a bot take over a position that it did not open."""
    held = {row.symbol for row in await positions(platform, bot)}
    if symbol not in held:
        known = ", ".join(sorted(held)) or "none"
        raise Rejected(f"{bot.id} has no position in {symbol}. Its positions: {known}.")
    return await ask(
        platform.live, bot.redis_db, bot.id, "adopt", {"symbol": symbol}, by, silent, BOT_ANSWER_S, platform.wall_ms()
    )


async def flatten(platform: Operations, bot: Bot, symbol: str | None, by: str, tell: Tell = silent) -> CommandResult:
    """Close a bot's positions, or one of them, through the guard. Reports progress until the exchange confirms flat."""
    args = {"bot": bot.id} if symbol is None else {"bot": bot.id, "symbol": symbol}
    return await _ask_guard(platform, "flatten", args, by, tell, GUARD_ANSWER_S)


async def cancel(platform: Operations, bot: Bot, symbol: str | None, by: str) -> CommandResult:
    """Cancel a closing in progress. Its halt stays."""
    args = {"bot": bot.id} if symbol is None else {"bot": bot.id, "symbol": symbol}
    return await _ask_guard(platform, "cancel", args, by, silent, BOT_ANSWER_S)


async def close(
    platform: Operations, bot: Bot, symbol: str, percent: int, by: str, tell: Tell = silent
) -> CommandResult:
    """Close a part of one position at market, or all of it, through the guard. The bot goes on."""
    args = {"bot": bot.id, "symbol": symbol, "percent": str(percent)}
    return await _ask_guard(platform, "reduce", args, by, tell, GUARD_ANSWER_S)


async def move_stop(platform: Operations, bot: Bot, symbol: str, price: Decimal, by: str) -> CommandResult:
    """Move the stop of a position, through the guard. It binds until the position is flat."""
    args = {"bot": bot.id, "symbol": symbol, "price": plain(price)}
    return await _ask_guard(platform, "move_stop", args, by, silent, BOT_ANSWER_S)


async def cancel_order(platform: Operations, bot: Bot, symbol: str, order_id: str, by: str) -> CommandResult:
    """Cancel one open order, through the guard. Rejected if no open order's id begins so."""
    args = {"bot": bot.id, "symbol": symbol, "order_id": (await open_order(platform, bot, order_id)).order_id}
    return await _ask_guard(platform, "cancel_order", args, by, silent, BOT_ANSWER_S)


async def forbid(platform: Operations, bot: Bot, symbol: str, by: str) -> CommandResult:
    """Forbid new entries of a bot in a symbol, until it is allowed again."""
    return await _ask_guard(platform, "blacklist", {"bot": bot.id, "symbol": symbol}, by, silent, BOT_ANSWER_S)


async def allow(platform: Operations, bot: Bot, symbol: str, by: str) -> CommandResult:
    """Allow entries in a forbidden symbol again."""
    return await _ask_guard(platform, "unblacklist", {"bot": bot.id, "symbol": symbol}, by, silent, BOT_ANSWER_S)


async def panic(platform: Operations, by: str, tell: Tell = silent) -> CommandResult:
    """Close every position of every bot, through the guard. Reports progress until the exchange confirms flat."""
    return await _ask_guard(platform, "panic", {}, by, tell, GUARD_ANSWER_S)


async def _ask_guard(
    platform: Operations, command: str, args: dict[str, str], by: str, tell: Tell, limit_s: int
) -> CommandResult:
    return await ask(platform.live, SHARED_DB, keys.GUARD, command, args, by, tell, limit_s, platform.wall_ms())
