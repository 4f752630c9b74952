"""Who gets which message: admins, the other operators, and everyone with the alerts they chose."""

import asyncio

import msgspec

from alpha.alerts import Alert, Alerts, Level
from alpha.clock import wall_ms
from alpha.errors import AlphaError, Rejected
from alpha.logs import logger
from operations.commands import Role
from telegram_manager.access import AccessControl
from telegram_manager.chat_ref import ChatRef
from telegram_manager.sender import TelegramSender
from telegram_manager.state_store import StateStore

log = logger(__name__)
#: Notices about other people's commands, strangers and lock-outs must survive a short Telegram outage.
TOLD_LIFE_S = 3_600.0
LEVELS = ("info", "warning", "critical")
#: What can be chosen for each bot, and how: with a sound, without one, or not at all.
KINDS = ("entries", "exits", "stops", "funding", "alerts")
HOW = ("on", "quiet", "off")


class AlertPreferences(msgspec.Struct):
    """Which alerts one person wants. `muted_until_ms` is wall clock; critical alerts are sent regardless."""

    on: bool = True
    level: str = "info"
    muted_until_ms: int = 0
    #: `kind` or `kind:bot` to one of HOW; a bot's own choice takes precedence. What is missing follows the settings.
    news: dict[str, str] = {}

    def news_of(self, kind: str, bot: str, defaults: dict[str, str]) -> str:
        """How this kind of news of a bot (empty for none) is wanted: one of HOW."""
        default = "on" if kind == "alerts" else defaults.get(kind, "off")
        return self.news.get(f"{kind}:{bot}") or self.news.get(kind) or default

    def listens(self, now_ms: int) -> bool:
        """Whether any non-critical alert is wanted now."""
        return self.on and now_ms >= self.muted_until_ms

    def wants(self, level: str, now_ms: int) -> bool:
        """Whether an alert of this level is wanted now. A critical one always is."""
        if level == "critical":
            return True
        if not self.listens(now_ms):
            return False
        return LEVELS.index(level) >= LEVELS.index(self.level)


class Audience:
    """The people in the settings and their alert preferences."""

    def __init__(self, gate: AccessControl, letters: TelegramSender, memory: StateStore) -> None:
        self._gate = gate
        self._letters = letters
        self._memory = memory
        self.tastes: dict[int, AlertPreferences] = {}
        self._alerts: Alerts | None = None
        #: Kinds of news that everybody gets who has not chosen; others are off.
        self.default_news: dict[str, str] = {}

    def people(self, least: Role) -> list[int]:
        """The people who have at least this role."""
        return self._gate.people(least)

    def report_to(self, alerts: Alerts) -> None:
        """Set where unreachable people are reported."""
        self._alerts = alerts

    async def unreachable(self, person: int, fault: str) -> None:
        """Telegram refuses messages to this person, who may have blocked the bot: raise an alert for the others."""
        log.warning("person_not_told", person=person, fault=fault)
        if self._alerts is not None:
            text = f"{person} ({self._gate.role(person).name.lower()}) cannot be reached: {fault}"
            remedy = "They have to open the chat with the bot and press Start; or take the id out of the settings."
            alert = Alert(Level.WARNING, f"person-unreachable:{person}", text, remedy)
            await self._alerts.raise_alert(alert, wall_ms())

    async def load(self) -> None:
        """Load the preferences."""
        self.tastes = await self._memory.load("tastes", dict[int, AlertPreferences], dict)

    def taste(self, person: int) -> AlertPreferences:
        """The preferences of this person."""
        return self.tastes.get(person, AlertPreferences())

    async def set_taste(self, person: int, taste: AlertPreferences) -> None:
        """Save this person's preferences."""
        self.tastes[person] = taste
        await self._memory.save("tastes", self.tastes)

    def wanting(self, level: str, now_ms: int) -> list[int]:
        """The people who want an alert of this level now."""
        return [person for person in self._gate.people(Role.VIEWER) if self.taste(person).wants(level, now_ms)]

    def listening(self, now_ms: int) -> list[int]:
        """The people who have alerts on, at any level, and are not muted now."""
        return [person for person in self._gate.people(Role.VIEWER) if self.taste(person).listens(now_ms)]

    def may_acknowledge(self, person: int) -> bool:
        """Whether this person may acknowledge alerts."""
        return self._gate.role(person) >= Role.OPERATOR

    async def tell_admins(self, html: str) -> None:
        """Message every admin privately."""
        await self._tell(self._gate.people(Role.ADMIN), html)

    async def tell_others(self, html: str, but: int | None, place: ChatRef) -> None:
        """Message every other operator privately."""
        others = [person for person in self._gate.people(Role.OPERATOR) if person not in (but, place.chat)]
        await self._tell(others, html)

    async def _tell(self, people: list[int], html: str) -> None:
        results = await asyncio.gather(
            *(self._letters.say(ChatRef(person), html, life_s=TOLD_LIFE_S) for person in people), return_exceptions=True
        )
        for person, result in zip(people, results, strict=True):
            if isinstance(result, Rejected):
                await self.unreachable(person, str(result))
            elif isinstance(result, AlphaError):
                log.warning("person_not_told", person=person, fault=str(result))
            elif isinstance(result, BaseException):
                raise result
