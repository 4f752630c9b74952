"""Starts and stops the containers of bots for the dashboard, which has no way to Docker of its own."""

from alpha.live_state.control import Command
from alpha.registry import Registry
from bot_control.interface import BotControl

START, STOP, RESTART = "start_container", "stop_container", "restart_container"
COMMANDS = frozenset({START, STOP, RESTART})
#: The answer when there was nothing to do: it ran already, or did not run.
NOTHING_TO_DO = "nothing to do"
_MOST_GRACE_S = 60


async def run(control: BotControl, registry: Registry, command: Command) -> tuple[str, str]:
    """Return the outcome and its sentence; refuses what is not a bot's container. Raises the bot control's errors."""
    container, grace = command.args.get("container", ""), command.args.get("grace_s", "")
    if container not in registry.containers:
        return "refused", f"No bot has the container {container[:40]!r}."
    grace_s = min(int(grace), _MOST_GRACE_S) if grace.isascii() and grace.isdecimal() and len(grace) < 4 else 10
    if command.name == START:
        done = await control.start(container)
    elif command.name == STOP:
        done = await control.stop(container, grace_s)
    else:
        await control.restart(container, grace_s)
        done = True
    return "done", "done" if done else NOTHING_TO_DO
