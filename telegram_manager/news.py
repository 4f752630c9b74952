"""News of trading for each person who wants them: entries, exits, stops moved, funding; per kind and per bot."""

from collections.abc import Sequence
from datetime import time
from html import escape

import msgspec

from alpha.errors import Rejected
from alpha.model.timestamp import at
from alpha.registry import Bot
from operations.commands import Role
from operations.context import Operations
from telegram_manager.audience import KINDS, Audience
from telegram_manager.chat_ref import ChatRef
from telegram_manager.layout import MOST
from telegram_manager.sender import TelegramSender
from telegram_manager.state_store import StateStore

STATE = "held news"
#: Lines kept for the end of the quiet hours; of more, only how many there were.
_HELD = 60


class HeldNews(msgspec.Struct):
    """News of the quiet hours: kind, bot and line of each, and how many older ones were dropped."""

    lines: list[tuple[str, str, str]] = []
    dropped: int = 0


class News:
    """Delivers news to people. In quiet hours they wait; nobody is sent what they did not choose."""

    def __init__(
        self,
        platform: Operations,
        audience: Audience,
        letters: TelegramSender,
        memory: StateStore,
        quiet: tuple[time, time] | None,
    ) -> None:
        self._platform = platform
        self._audience = audience
        self._letters = letters
        self._memory = memory
        self._quiet = quiet
        self._held: HeldNews | None = None

    async def tell(self, kind: str, bot: Bot, lines: Sequence[str]) -> None:
        """Send lines of Telegram's HTML about a bot to everybody who wants this kind of it."""
        assert kind in KINDS
        await self._deliver([(kind, bot.id, line) for line in lines])

    async def look(self) -> None:
        """Send what waited for the end of the quiet hours."""
        held = await self._load()
        if held.lines and not self._is_quiet():
            lines, self._held = held.lines, HeldNews()
            await self._memory.save(STATE, self._held)
            await self._send(lines, f"<i>In the quiet hours{_more(held.dropped)}:</i>")

    async def _deliver(self, lines: list[tuple[str, str, str]]) -> None:
        if not self._is_quiet():
            await self._send(lines)
            return
        held = await self._load()
        kept = [*held.lines, *lines]
        self._held = HeldNews(kept[-_HELD:], held.dropped + max(0, len(kept) - _HELD))
        await self._memory.save(STATE, self._held)

    async def _send(self, lines: Sequence[tuple[str, str, str]], head: str = "") -> None:
        now_ms = self._platform.wall_ms()
        for person in self._audience.people(Role.VIEWER):
            taste = self._audience.taste(person)
            if not taste.listens(now_ms):
                continue
            chosen = [(taste.news_of(kind, bot, self._audience.default_news), line) for kind, bot, line in lines]
            wanted = [line for how, line in chosen if how != "off"]
            if not wanted:
                continue
            silent = all(how != "on" for how, _ in chosen if how != "off")
            for text in _joined([*([head] if head else []), *wanted]):
                try:
                    await self._letters.say(ChatRef(person), text, silent=silent, life_s=None)
                except Rejected as fault:
                    await self._audience.unreachable(person, str(fault))
                    break

    async def _load(self) -> HeldNews:
        if self._held is None:
            self._held = await self._memory.load(STATE, HeldNews, HeldNews)
        return self._held

    def _is_quiet(self) -> bool:
        if self._quiet is None:
            return False
        begin, end = self._quiet
        now = at(self._platform.wall_ms()).astimezone(self._platform.zone).time()
        return begin <= now < end if begin < end else now >= begin or now < end


def _more(dropped: int) -> str:
    return f" ({dropped} older ones are left out)" if dropped else ""


def _joined(lines: Sequence[str]) -> list[str]:
    texts: list[str] = []
    for line in lines:
        if texts and len(texts[-1]) + 1 + len(line) <= MOST:
            texts[-1] += f"\n{line}"
        else:
            texts.append(line)
    return texts


def table(taste_of: "dict[tuple[str, str], str]", bots: Sequence[Bot]) -> str:
    """Who chose what, as a table: kinds down, bots across where one differs."""
    rows = []
    for kind in KINDS:
        per_bot = [
            f"{bot.name} {taste_of[kind, bot.id]}" for bot in bots if taste_of[kind, bot.id] != taste_of[kind, ""]
        ]
        more = f"  but {', '.join(per_bot)}" if per_bot else ""
        rows.append(f"{kind:8} {taste_of[kind, '']:5}{more}".rstrip())
    return f"<pre>{escape(chr(10).join(rows))}</pre>"
