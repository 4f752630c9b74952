"""Handles admitted updates: answers queries, confirms and runs commands, and dispatches session commands."""

import asyncio
from collections.abc import Awaitable, Callable
from html import escape

from alpha.errors import AlphaError, Rejected
from alpha.logs import logger
from operations.arguments import Arguments, read_words
from operations.audited_commands import warning_of
from operations.commands import BY_NAME, Command, Query, Role
from operations.confirmations import Confirmations, Pending, Pressed
from operations.context import Operations
from operations.page import Page
from operations.positions import positions
from operations.storable import brief
from telegram_manager import layout
from telegram_manager.audience import Audience
from telegram_manager.buttons import Press, menu, pick_bot, pick_symbol, under_question, yes_or_no
from telegram_manager.chart_worker import ChartWorker
from telegram_manager.chat_ref import ChatRef
from telegram_manager.incoming_update import IncomingUpdate
from telegram_manager.row_buttons import row_buttons
from telegram_manager.sender import TelegramSender

log = logger(__name__)
#: Queries sent to the stores concurrently; more wait. No slot is held while waiting for Telegram.
AT_ONCE = 8
#: How an attempt ended: its outcome for the audit log, and the answer given.
Ended = tuple[str, str]
#: The last word of a session command that was confirmed. No person can write it.
CONFIRMED = "\x00confirmed"
#: Session commands that need confirmation: command, then words, then the warning.
ASKED_BACK = {
    "alerts": {
        ("off",): "Turn your alerts off? Critical ones still come; warnings and news no longer do, until /alerts on."
    }
}
#: A handler of a session command.
Own = Callable[[IncomingUpdate, Role, tuple[str, ...]], Awaitable[Ended]]


class Conversation:
    """Answers admitted updates. Never raises because of what people send."""

    def __init__(
        self,
        platform: Operations,
        letters: TelegramSender,
        painter: ChartWorker,
        confirmations: Confirmations,
        audience: Audience,
        own: dict[str, Own],
    ) -> None:
        self._platform = platform
        self._letters = letters
        self._painter = painter
        self._confirmations = confirmations
        self._audience = audience
        self._own = own
        self._room = asyncio.Semaphore(AT_ONCE)

    async def _ask(self, question: Query, args: Arguments) -> Page:
        async with self._room:
            return await question.ask(self._platform, args)

    def subject(self, press: Press | None) -> tuple[str, tuple[str, ...]]:
        """The command and words that a button stands for, for the audit log."""
        if press is None:
            return "unknown button", ()
        if press.kind == "c":
            pending = self._confirmations.peek(press.token)
            return (pending.command, pending.words) if pending else ("used button", ())
        return press.name or {"m": "menu", "a": "ack"}.get(press.kind, press.kind), press.words

    async def message(self, seen: IncomingUpdate, role: Role, attempt: str) -> Ended:
        """Answer a message."""
        place, person = _where(seen)
        words = tuple(word.lower() if seen.command in ASKED_BACK else word for word in seen.text.split()[1:])
        name = seen.command
        if not name:
            await self._letters.say(place, "I understand commands: /help lists them.")
            return "done", ""
        if name == "start" and not words:
            return await self.greet(place, role, seen.name)
        if name in ASKED_BACK and words in ASKED_BACK[name]:
            return await self.confirm(place, person, name, words, attempt, ASKED_BACK[name][words])
        if name in self._own:
            ended = await self._own[name](seen, role, words)
            if ended[0] != "pass":
                return ended
        command = BY_NAME.get(name)
        if command is None:
            await self._letters.say(place, f"I do not know /{escape(brief(name, 32)[1:-1])}. /help lists the commands.")
            return "refused", "unknown command"
        if role < command.role:
            return await self._not_allowed(place, command)
        if isinstance(command, Query):
            return await self.question(place, command, words, role)
        return await self.ask_back(place, person, command, words, attempt)

    async def press(self, seen: IncomingUpdate, role: Role, attempt: str, press: Press | None) -> Ended:
        """Answer a button."""
        place, person = _where(seen)
        message_id = seen.message_id or 0
        if press is None:
            await self._letters.answer_button(seen.button_id, "This button is out of date.")
            return "refused", "unknown button"
        if press.kind == "c":
            return await self._confirm(seen, role, press)
        command = BY_NAME.get(press.name)
        if command is not None and role < command.role:
            await self._letters.answer_button(
                seen.button_id, f"/{command.name} needs the role {command.role.name.lower()}."
            )
            return "refused", "role"
        await self._letters.answer_button(seen.button_id)
        if press.kind == "a":
            return await self._own["ack"](seen, role, press.words)
        if press.kind == "y" and press.name in ASKED_BACK and press.words in ASKED_BACK[press.name]:
            return await self.confirm(
                place, person, press.name, press.words, attempt, ASKED_BACK[press.name][press.words]
            )
        if press.kind == "y":
            ended = await self._own[press.name](seen, role, press.words)
            return ended if ended[0] != "pass" else ("refused", "wrong words")
        if press.kind == "m" or command is None:
            which = press.words[0] if press.words else ""
            titles = {"steer": "<b>Steering</b>: each asks for confirmation", "you": "<b>You</b> and your alerts"}
            await self._letters.edit(place, message_id, titles.get(which, "<b>Alpha</b>"), menu(role, which))
            return "done", ""
        if press.kind == "p":
            return await self._pick(place, message_id, command, press)
        if isinstance(command, Command):
            return await self.ask_back(place, person, command, press.words, attempt)
        if press.kind == "g":
            return await self._picture(place, command, press.words)
        return await self.question(place, command, press.words, role, press.page, message_id)

    async def _pick(self, place: ChatRef, message_id: int, command: Query | Command, press: Press) -> Ended:
        """Ask for the bot and, once it is known, for the position."""
        name = escape(command.name.capitalize())
        registry = self._platform.registry
        words = press.words
        if not words:
            buttons = pick_bot(registry, command.name, press.page)
            await self._letters.edit(place, message_id, f"<b>{name}</b>: which bot?", buttons)
            return "done", ""
        try:
            bot = registry.find(words[0])
            symbols = [row.symbol for row in await positions(self._platform, bot)]
        except AlphaError as fault:
            await self._letters.say(place, f"🔴 {escape(str(fault))}")
            return "failed", str(fault)
        asked = "which position?" if symbols else "it has no open position."
        text = f"<b>{name} {escape(bot.name)}</b>: {asked}"
        await self._letters.edit(place, message_id, text, pick_symbol(bot, command.name, symbols))
        return "done", ""

    async def greet(self, place: ChatRef, role: Role, name: str) -> Ended:
        """Send the welcome message with the menu."""
        text = f"<b>Alpha</b>\nHello {escape(name)}. You are {role.name.lower()} here. /help lists all commands."
        await self._letters.say(place, text, menu(role))
        return "done", ""

    async def question(
        self,
        place: ChatRef,
        question: Query,
        said: tuple[str, ...],
        role: Role,
        page: int = 0,
        message_id: int | None = None,
    ) -> Ended:
        """Show a query's page with the buttons that this role may use; in place if a message is given."""
        args = await self._arguments(place, question, said)
        if args is None:
            return "refused", "wrong words"
        try:
            shown = await self._ask(question, args)
        except AlphaError as fault:
            await self._letters.say(place, f"🔴 {escape(str(fault))}")
            return "failed", str(fault)
        pages = layout.pages_of(shown)
        if len(pages) > layout.MOST_PAGES:
            await self._letters.file(place, f"{question.name}.txt", layout.plain_text(shown).encode(), shown.title)
            return "done", "as a file"
        number = min(page, len(pages) - 1)
        buttons = under_question(
            self._platform.registry, question, args.words, number, len(pages), picture=shown.picture is not None
        )
        own = row_buttons(self._platform.registry, question.name, shown.data, role) if number == len(pages) - 1 else []
        buttons = [*own, *buttons]
        if message_id is not None:
            await self._letters.edit(place, message_id, pages[number], buttons)
        elif shown.picture is None:
            await self._letters.say(place, pages[number], buttons)
        else:
            # drawn while the text is being sent
            _, drawn = await asyncio.gather(
                self._letters.say(place, pages[number], buttons), self._painter.draw(shown.picture)
            )
            await self._letters.photo(place, drawn, shown.title)
        return "done", ""

    async def _picture(self, place: ChatRef, question: Query, words: tuple[str, ...]) -> Ended:
        args = await self._arguments(place, question, words)
        if args is None:
            return "refused", "wrong words"
        try:
            shown = await self._ask(question, args)
            if shown.picture is not None:
                await self._letters.photo(place, await self._painter.draw(shown.picture), shown.title)
            else:
                await self._letters.say(place, layout.pages_of(shown)[0])
        except AlphaError as fault:
            await self._letters.say(place, f"🔴 {escape(str(fault))}")
            return "failed", str(fault)
        return "done", ""

    async def ask_back(self, place: ChatRef, person: int, order: Command, said: tuple[str, ...], attempt: str) -> Ended:
        """Ask for confirmation of a command; refuse it if there is nothing to act on."""
        args = await self._arguments(place, order, said)
        if args is None:
            return "refused", "wrong words"
        try:
            warning = await warning_of(self._platform, order, args)
        except Rejected as fault:
            await self._letters.say(place, f"🔴 {escape(str(fault))}", urgent=True)
            return "refused", str(fault)
        return await self.confirm(place, person, order.name, args.words, attempt, warning)

    async def confirm(
        self, place: ChatRef, person: int, command: str, words: tuple[str, ...], attempt: str, warning: str
    ) -> Ended:
        """Ask for confirmation with `warning`, which contains the question. The minute begins when it was shown."""
        token = self._confirmations.ask(person, place, command, words, attempt, self._platform.wall_ms())
        mark = "🚨" if command == "panic" else "❓"
        asked, _, more = warning.partition("? ")
        text = "\n".join(
            [
                f"{mark} <b>{escape(asked.removesuffix('?'))}?</b>",
                *([escape(more)] if more else []),
                "<i>Valid for one minute.</i>",
            ]
        )
        await self._letters.say(place, text, yes_or_no(token, command), urgent=True)
        self._confirmations.shown(token, self._platform.wall_ms())
        return "asked", ""

    async def _confirm(self, seen: IncomingUpdate, role: Role, press: Press) -> Ended:
        place, person = _where(seen)
        message_id = seen.message_id or 0
        # judged by when the press arrived, not by when it is processed
        now_ms = self._platform.wall_ms() if seen.received_ms is None else seen.received_ms
        pressed, pending = self._confirmations.press(press.token, press.answer, person, place, now_ms)
        if pressed is Pressed.OTHERS:
            await self._letters.answer_button(seen.button_id, "This button is for the one who asked.")
            return "refused", "another person's button"
        if pending is None:
            await self._letters.answer_button(seen.button_id, "This button was used already.")
            return "refused", "used button"
        said = " ".join((f"/{pending.command}", *pending.words))
        if pressed is Pressed.YES:
            if pending.command in self._own:
                await self._letters.answer_button(seen.button_id)
                await self._letters.edit(place, message_id, f"✅ {escape(said)}", urgent=True)
                return await self._own[pending.command](seen, role, (*pending.words, CONFIRMED))
            order = BY_NAME[pending.command]
            if not isinstance(order, Command) or role < order.role:
                return await self._not_allowed(place, order)
            return await self._run(seen, order, pending, place, message_id)
        await self._letters.answer_button(seen.button_id)
        if pressed is Pressed.EXPIRED:
            await self._letters.edit(
                place, message_id, f"⌛ {escape(said)}: older than a minute, not done.", urgent=True
            )
            return "expired", ""
        await self._letters.edit(place, message_id, f"✖️ {escape(said)}: not done.", urgent=True)
        return "refused", "answered no"

    async def _run(
        self, seen: IncomingUpdate, order: Command, pending: Pending, place: ChatRef, message_id: int
    ) -> Ended:
        """Run a confirmed command; its progress and result replace the message that asked."""
        said = " ".join((f"/{order.name}", *pending.words))
        lines = [f"⏳ <b>{escape(said)}</b>"]

        async def show() -> None:
            """Runs concurrently with the command, never before it: Telegram may be slow or unavailable."""
            shown = 0
            await self._letters.answer_button(seen.button_id)
            while True:
                if len(lines) > shown:
                    shown = len(lines)
                    await self._edit_quietly(place, message_id, "\n".join(lines[-40:]))
                await asyncio.sleep(1.0)

        async def tell(sentence: str) -> None:
            lines.append(escape(sentence))

        showing = asyncio.create_task(show(), name=f"progress of {said}")
        try:
            args = read_words(self._platform.registry, order.name, order.usage, order.example, list(pending.words))
            outcome = await order.run(self._platform, args, f"telegram:{seen.person}", tell)
            done, text = outcome.done, outcome.text
        except AlphaError as fault:
            done, text = False, str(fault)
        finally:
            showing.cancel()
        mark = "✅" if done else "🔴"
        result = "\n".join([f"{mark} <b>{escape(said)}</b>", *lines[1:][-30:], escape(text)])
        await self._edit_quietly(place, message_id, result[: layout.MOST])
        notice = f"👤 {escape(seen.name)}: {mark} {escape(said)}\n{escape(text)[:500]}"
        await self._audience.tell_others(notice, seen.person, place)
        return ("done" if done else "failed"), text

    async def _edit_quietly(self, place: ChatRef, message_id: int, html: str) -> None:
        """Edit; if refused (deleted, too old), send a new message. A Telegram failure must not stop a command."""
        try:
            try:
                await self._letters.edit(place, message_id, html, urgent=True)
            except Rejected:
                await self._letters.say(place, html, urgent=True)
        except AlphaError as fault:
            log.warning("progress_not_shown", fault=str(fault))

    async def _arguments(self, place: ChatRef, command: Query | Command, words: tuple[str, ...]) -> Arguments | None:
        """Parse the arguments; None after telling the person what is wrong with them."""
        if not words and command.usage.startswith("<bot>"):
            text = f"<b>{escape(command.name.capitalize())}</b>: which bot? Example: {escape(command.example)}"
            await self._letters.say(place, text, pick_bot(self._platform.registry, command.name))
            return None
        try:
            return read_words(self._platform.registry, command.name, command.usage, command.example, list(words))
        except AlphaError as fault:
            await self._letters.say(place, escape(str(fault)))
            return None

    async def _not_allowed(self, place: ChatRef, command: Query | Command) -> Ended:
        await self._letters.say(place, f"/{command.name} needs the role {command.role.name.lower()}.")
        return "refused", "role"


def _where(seen: IncomingUpdate) -> tuple[ChatRef, int]:
    """Place and person of an admitted update; access control admits none without them."""
    if seen.place is None or seen.person is None:
        raise Rejected("An update without a person or a place.")
    return seen.place, seen.person
