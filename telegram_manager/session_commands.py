"""Commands that only Telegram has: login and logout, whoami, help, menu, alert preferences, mute, ack, export."""

import asyncio
import csv
import io
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict, fields
from html import escape

from pydantic import SecretStr

from alpha.errors import AlphaError
from alpha.model.timestamp import at
from operations import analytics
from operations.access_code import matches
from operations.analytics import TripRow
from operations.arguments import read_words
from operations.business_time import business_now
from operations.commands import Role
from operations.context import Operations
from operations.dashboard_access import LINK_LIFE, DashboardAccess, end_sessions, make_link
from operations.formatting import full_moment
from operations.periods import parse_period
from telegram_manager.access import AccessControl
from telegram_manager.audience import HOW, KINDS, LEVELS, AlertPreferences, Audience
from telegram_manager.buttons import menu, notify_buttons
from telegram_manager.chat_ref import ChatRef
from telegram_manager.conversation import CONFIRMED, Ended, Own
from telegram_manager.help_page import help_of, help_text
from telegram_manager.incoming_update import IncomingUpdate, Kind
from telegram_manager.news import table
from telegram_manager.sender import TelegramSender

_SPAN = re.compile(r"(\d{1,4}) ?(m|h|d)")
_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


class SessionCommands:
    """Handlers by command name. A handler with the outcome "pass" leaves the command to the command table."""

    def __init__(
        self,
        platform: Operations,
        letters: TelegramSender,
        gate: AccessControl,
        audience: Audience,
        code_hash: SecretStr | None,
        acknowledge: Callable[[str, tuple[str, ...]], Awaitable[int]],
        gate_changed: Callable[[], Awaitable[None]],
        dashboard: DashboardAccess,
    ) -> None:
        self._platform = platform
        self._letters = letters
        self._gate = gate
        self._audience = audience
        self._code_hash = code_hash
        self._acknowledge = acknowledge
        self._gate_changed = gate_changed
        self._dashboard_access = dashboard

    def handlers(self) -> dict[str, Own]:
        """Return command name -> handler."""
        return {
            "login": self._login,
            "logout": self._logout,
            "whoami": self._whoami,
            "help": self._help,
            "menu": self._menu,
            "alerts": self._alerts,
            "mute": self._mute,
            "ack": self._ack,
            "export": self._export,
            "dashboard": self._dashboard,
            "notify": self._notify,
        }

    async def _login(self, seen: IncomingUpdate, role: Role, words: tuple[str, ...]) -> Ended:
        place, person = _where(seen)
        if seen.message_id is not None:
            # the code must not stay in the chat, right or wrong
            await self._letters.delete(place, seen.message_id)
        if self._code_hash is None:
            return await self._said(place, "No access code is set: you need none.", "refused")
        if not seen.private:
            return await self._said(place, "Others read along here: send /login CODE to me in private.", "refused")
        if not words:
            return await self._said(place, "Send: /login CODE", "refused")
        right = await asyncio.to_thread(matches, " ".join(words), self._code_hash.get_secret_value())
        now_ms = self._platform.wall_ms()
        if right:
            self._gate.code_was_right(person, now_ms)
            await self._gate_changed()
            ends = full_moment(at(self._gate.session_ends_ms(person) or now_ms), self._platform.zone)
            return await self._said(place, f"🔓 Welcome. Your session ends {ends}.", "done")
        locked = self._gate.code_was_wrong(person, now_ms)
        await self._gate_changed()
        if locked:
            who = f"{escape(seen.name)} (<code>{person}</code>)"
            await self._audience.tell_admins(f"⚠️ {who} is locked out after wrong access codes.")
        said = "Wrong code. You are locked out for 15 minutes." if locked else "Wrong code."
        return await self._said(place, said, "refused")

    async def _logout(self, seen: IncomingUpdate, role: Role, words: tuple[str, ...]) -> Ended:
        place, person = _where(seen)
        self._gate.log_out(person)
        await self._gate_changed()
        return await self._said(place, "🔒 Your session is ended.", "done")

    async def _whoami(self, seen: IncomingUpdate, role: Role, words: tuple[str, ...]) -> Ended:
        place, person = _where(seen)
        ends = self._gate.session_ends_ms(person)
        session = "none" if ends is None else full_moment(at(ends), self._platform.zone)
        taste = self._audience.taste(person)
        text = (
            f"<pre>id       {person}\nname     {escape(seen.name)}\nrole     {role.name.lower()}\nchat     {place}\n"
            f"session  {session}\nalerts   {taste.level if taste.on else 'critical only'}</pre>"
        )
        return await self._said(place, text, "done")

    async def _help(self, seen: IncomingUpdate, role: Role, words: tuple[str, ...]) -> Ended:
        place = _where(seen)[0]
        if not words:
            return await self._said(place, help_text(role), "done")
        try:
            return await self._said(place, help_of(words[0]), "done")
        except AlphaError as fault:
            return await self._said(place, escape(str(fault)), "refused")

    async def _dashboard(self, seen: IncomingUpdate, role: Role, words: tuple[str, ...]) -> Ended:
        place, person = _where(seen)
        access = self._dashboard_access
        if words in (("off",), ("logout",)):
            ended = await end_sessions(self._platform, f"telegram:{person}", person=person)
            return await self._said(place, f"🔒 Sessions of yours on the dashboard that are ended: {ended}.", "done")
        if words:
            return await self._said(
                place, "Send /dashboard for a link, /dashboard off to end your sessions.", "refused"
            )
        if not access.dashboard_steering:
            where = f" It is at {escape(access.dashboard_public_url)}." if access.dashboard_public_url else ""
            text = f"The dashboard only reads, and opens with its token (DASHBOARD_TOKEN).{where} DASHBOARD_STEERING=true lets operators log in."
            return await self._said(place, text, "refused")
        if not seen.private:
            return await self._said(place, "Whoever has the link gets in: send /dashboard to me in private.", "refused")
        code = await make_link(self._platform, person, seen.name, role)
        minutes = int(LINK_LIFE.total_seconds() // 60)
        text = (
            f"🔑 Your link to the dashboard, as {role.name.lower()}. It works once, within {minutes} minutes; give it to nobody.\n"
            f"{escape(access.dashboard_public_url)}/login?code={escape(code)}"
        )
        return await self._said(place, text, "done")

    async def _menu(self, seen: IncomingUpdate, role: Role, words: tuple[str, ...]) -> Ended:
        await self._letters.say(_where(seen)[0], "<b>Alpha</b>", menu(role))
        return "done", ""

    async def _alerts(self, seen: IncomingUpdate, role: Role, words: tuple[str, ...]) -> Ended:
        place, person = _where(seen)
        confirmed = words[-1:] == (CONFIRMED,)
        words = words[:-1] if confirmed else words
        choice = words[0].lower() if words else ""
        if choice == "level" and len(words) > 1:
            choice = words[1].lower()
        taste = self._audience.taste(person)
        if choice in ("on", "off") and (choice == "on" or confirmed):
            taste = AlertPreferences(choice == "on", taste.level, 0, taste.news)
        elif choice in LEVELS:
            taste = AlertPreferences(True, choice, taste.muted_until_ms, taste.news)
        elif choice == "" or choice.isdecimal():
            return "pass", ""
        else:
            return await self._said(place, "Write on, off or a level. Example: /alerts warning", "refused")
        await self._audience.set_taste(person, taste)
        said = f"{taste.level} and above" if taste.on else "critical ones only"
        return await self._said(place, f"Alerts: {said}.{self._nobody()}", "done")

    async def _notify(self, seen: IncomingUpdate, role: Role, words: tuple[str, ...]) -> Ended:
        """Choose news per kind and per bot: /notify exits quiet, /notify all off momentum, /notify reset."""
        place, person = _where(seen)
        taste, registry = self._audience.taste(person), self._platform.registry
        said = [word.lower() for word in words]
        if said == ["reset"]:
            taste = AlertPreferences(taste.on, taste.level, taste.muted_until_ms)
            await self._audience.set_taste(person, taste)
        elif said:
            kinds = KINDS if said[0] == "all" else tuple(kind for kind in KINDS if kind == said[0])
            how = next((word for word in said[1:] if word in HOW), "")
            rest = [word for word in said[1:] if word != how]
            try:
                bot = registry.find(rest[0]).id if rest else ""
            except AlphaError:
                bot = None
            if not kinds or not how or bot is None or len(rest) > 1:
                text = (
                    f"Write what ({', '.join((*KINDS, 'all'))}), how ({', '.join(HOW)}) and, for one bot alone, which "
                    f"({registry.choices}). Example: /notify exits quiet momentum"
                )
                return await self._said(place, escape(text), "refused")
            news = dict(taste.news)
            for kind in kinds:
                if not bot:
                    # the choice for all replaces those for single bots
                    news = {name: each for name, each in news.items() if not name.startswith(f"{kind}:")}
                news[f"{kind}:{bot}" if bot else kind] = how
            taste = AlertPreferences(taste.on, taste.level, taste.muted_until_ms, news)
            await self._audience.set_taste(person, taste)
        chosen = {
            (kind, bot): taste.news_of(kind, bot, self._audience.default_news)
            for kind in KINDS
            for bot in ("", *(each.id for each in registry.bots))
        }
        text = (
            f"<b>Your news</b>\n{table(chosen, registry.bots)}\non: with a sound, quiet: without, off: not at all. Critical "
            "alerts always come. For one bot: <code>/notify exits quiet momentum</code>"
        )
        await self._letters.say(place, text, notify_buttons(chosen))
        return "done", ""

    def _nobody(self) -> str:
        """The note to add when nobody receives warnings any more."""
        listens = self._audience.wanting("warning", self._platform.wall_ms())
        return "" if listens else "\n⚠️ No one receives warnings now; only critical alerts are delivered."

    async def _mute(self, seen: IncomingUpdate, role: Role, words: tuple[str, ...]) -> Ended:
        place, person = _where(seen)
        match = _SPAN.fullmatch(" ".join(words).lower())
        if match is None and words not in (("off",), ("0",)):
            return await self._said(place, "Write how long. Example: /mute 1h (or 30m, 2d, off)", "refused")
        until = self._platform.wall_ms() + int(match[1]) * _MS[match[2]] if match else 0
        taste = self._audience.taste(person)
        await self._audience.set_taste(person, AlertPreferences(taste.on, taste.level, until, taste.news))
        said = (
            f"Muted until {full_moment(at(until), self._platform.zone)}; critical alerts still come."
            if until
            else "Not muted."
        ) + self._nobody()
        return await self._said(place, said, "done")

    async def _ack(self, seen: IncomingUpdate, role: Role, words: tuple[str, ...]) -> Ended:
        place, _ = _where(seen)
        if role < Role.OPERATOR:
            return await self._said(place, "/ack needs the role operator.", "refused")
        if seen.kind is Kind.BUTTON:
            count = await self._acknowledge(seen.name, words)
            if words and not count:
                return await self._said(place, "That alert is acknowledged already, has changed or is over.", "done")
        else:
            count = await self._acknowledge(seen.name, ())
        said = (
            f"👍 {count} alert{'s' if count != 1 else ''} acknowledged."
            if count
            else "Nothing waits to be acknowledged."
        )
        return await self._said(place, said, "done")

    async def _export(self, seen: IncomingUpdate, role: Role, words: tuple[str, ...]) -> Ended:
        place, _ = _where(seen)
        if role < Role.OPERATOR:
            return await self._said(place, "/export needs the role operator.", "refused")
        try:
            example = "/export momentum 2025-06"
            args = read_words(self._platform.registry, "export", "[bot] [period]", example, list(words))
            period = parse_period(args.period or "this year", await business_now(self._platform, args.bot))
            rows = await analytics.trades_in(self._platform, args.bot, period)
            content = trips_csv(rows)
        except AlphaError as fault:
            return await self._said(place, escape(str(fault)), "failed")
        name = f"trades-{args.bot.container if args.bot else 'all'}-{period.label.replace(' ', '-')}.csv"
        await self._letters.file(place, name, content, f"{len(rows)} closed trades, {period.label}; UTC, USDT.")
        return "done", f"{len(rows)} rows"

    async def _said(self, place: ChatRef, html: str, outcome: str) -> Ended:
        await self._letters.say(place, html)
        return outcome, ""


def trips_csv(rows: list[TripRow]) -> bytes:
    """Render round trips as CSV with a header row: amounts in USDT, times in ISO 8601 UTC, holding time in seconds."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([field.name for field in fields(TripRow)])
    for row in rows:
        values = asdict(row) | {"held": row.held.total_seconds()}
        values |= {"opened_at": row.opened_at.isoformat(), "closed_at": row.closed_at.isoformat()}
        writer.writerow(values.values())
    return out.getvalue().encode()


def _where(seen: IncomingUpdate) -> tuple[ChatRef, int]:
    if seen.place is None or seen.person is None:
        raise AlphaError("An update without a person or a place.")
    return seen.place, seen.person
