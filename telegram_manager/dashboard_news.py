"""Tells people in Telegram what happens on the dashboard: a login to who logged in, a command to the other operators."""

from datetime import datetime
from html import escape

from alpha.errors import Rejected
from alpha.postgres.sql import queries
from operations.commands import Role
from operations.context import Operations
from operations.dashboard_access import end_changed_roles, untold_sessions
from operations.storable import storable
from telegram_manager.chat_ref import ChatRef
from telegram_manager.state_store import StateStore
from telegram_manager.wiring import Setup

SQL = queries(__file__)

STATE = "dashboard news"
_MOST = 20


class DashboardNews:
    """Looks every few seconds. What ended before the first look is not told."""

    def __init__(self, platform: Operations, setup: Setup, memory: StateStore, roles: dict[int, Role]) -> None:
        self._platform = platform
        self._setup = setup
        self._memory = memory
        self._roles = roles
        self._told_until: datetime | None = None
        self._roles_checked = False

    async def look(self) -> None:
        """Tell what is new. Raises Retry while PostgreSQL is unavailable."""
        if not self._roles_checked:
            await end_changed_roles(self._platform, self._roles)
            self._roles_checked = True
        await self._tell_logins()
        await self._tell_commands()

    async def _tell_logins(self) -> None:
        for session in await untold_sessions(self._platform):
            text = (
                f"🔑 You logged in to the dashboard from <code>{escape(session.address)}</code>, "
                f"{escape(storable(session.agent, 120)) or 'an unnamed browser'}.\nNot you? /dashboard off ends all your sessions."
            )
            try:
                await self._setup.letters.say(ChatRef(session.person), text)
            except Rejected as fault:
                await self._setup.audience.unreachable(session.person, str(fault))

    async def _tell_commands(self) -> None:
        if self._told_until is None:
            saved = await self._memory.load(STATE, str, str)
            now = await self._platform.history.value(SQL["now"])
            self._told_until = datetime.fromisoformat(saved) if saved else now
        rows = await self._platform.history.rows(
            SQL["commands"],
            self._told_until,
            _MOST,
        )
        for row in rows:
            said = f"/{row['name']} {row['arguments'].get('words', '')}".strip()
            mark = "✅" if row["outcome"] == "done" else "🔴"
            text = f"👤 {escape(row['who'])}, on the dashboard: {mark} {escape(said)}\n{escape(row['answer'])[:500]}"
            person = int(row["issuer"]) if row["issuer"].isdecimal() else None
            await self._setup.audience.tell_others(text, person, ChatRef(person or 0))
            self._told_until = row["finished_at"]
        if rows:
            await self._memory.save(STATE, self._told_until.isoformat())
