"""Keyboard commands while the demo runs: choose a bot, pause it, stop it, open the dashboard, quit.

The same commands as in Telegram and in the terminal, with the same audit log entries.
"""

import asyncio
import contextlib
import webbrowser
from collections.abc import Awaitable, Callable

from alpha.errors import AlphaError
from alpha.registry import Bot
from operations import control, models
from operations.audit_log import Attempt, new_id
from operations.audited_commands import AuditedCommands
from operations.command_result import CommandResult
from operations.context import Operations
from operations.status import BotState, Status

_Act = Callable[[Operations, Bot, str], Awaitable[CommandResult]]
_BY = "demo"
MODEL = "trend"


async def _promote(platform: Operations, bot: Bot, by: str) -> CommandResult:
    """Let the demo's model trade; refused while it may not."""
    return await models.promote(platform, MODEL, None, by)


class KeyCommands:
    """The chosen bot, the last answer, and the action of each key."""

    def __init__(
        self, platform: Operations, dashboard_url: str, stop: asyncio.Event, *, with_model: bool = False
    ) -> None:
        self._with_model = with_model
        self._platform = platform
        self._commands = AuditedCommands(platform, "The demo")
        self._url = dashboard_url
        self._stop = stop
        self._running: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()
        self.chosen = 0
        self.answer = ""
        #: The latest status; determines whether a key pauses or resumes.
        self.seen: Status | None = None

    @property
    def keys(self) -> list[tuple[str, str]]:
        """The keys and their current actions."""
        state = self._state()
        return [
            (f"1-{len(self._platform.registry.bots)}", "choose a bot"),
            ("p", "resume it" if state is BotState.PAUSED else "pause it"),
            ("s", "start it" if state is BotState.STOPPED else "stop it"),
            *([("m", "promote its model")] if self._with_model else []),
            ("d", "dashboard"),
            ("q", "quit"),
        ]

    def press(self, key: str) -> None:
        """Perform the action of a key; unknown keys are ignored."""
        bots = self._platform.registry.bots
        if key.isdigit() and 1 <= int(key) <= len(bots):
            self.chosen = int(key) - 1
            self.answer = ""
        elif key == "q":
            self._stop.set()
        elif key == "d":
            opened = webbrowser.open(self._url)
            self.answer = "The dashboard opens in your browser." if opened else f"Open {self._url}"
        elif key == "p":
            paused = self._state() is BotState.PAUSED
            self._begin(*(("resume", control.resume) if paused else ("pause", control.pause)))
        elif key == "m" and self._with_model:
            self._begin("model_promote", _promote)
        elif key == "s":
            stopped = self._state() is BotState.STOPPED
            self._begin(*(("start", control.start) if stopped else ("stop", control.stop)))

    async def close(self) -> None:
        """Cancel running commands and wait for them to end."""
        for task in list(self._running.values()):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _state(self) -> BotState | None:
        if self.seen is None or self.chosen >= len(self.seen.bots):
            return None
        return self.seen.bots[self.chosen].state

    def _begin(self, name: str, act: _Act) -> None:
        """Queue a command behind earlier ones; a command that is already queued is not queued again."""
        bot = self._platform.registry.bots[self.chosen]
        self.answer = f"{name} {bot.id} ..."
        wanted = (name, bot.id)
        if wanted not in self._running:
            task = self._running[wanted] = asyncio.create_task(self._in_turn(name, act, bot))
            task.add_done_callback(lambda _: self._running.pop(wanted, None))

    async def _in_turn(self, name: str, act: _Act, bot: Bot) -> None:
        async with self._turn:
            await self._do(name, act, bot)

    async def _do(self, name: str, act: _Act, bot: Bot) -> None:
        attempt = Attempt(new_id(_BY), "terminal", _BY, "owner", "", name, bot.id, {})
        try:
            result = await self._commands.run(attempt, lambda: act(self._platform, bot, attempt.by), self._say)
            self.answer = result.text
        except AlphaError as fault:
            self.answer = str(fault)

    async def _say(self, text: str) -> None:
        self.answer = text
