"""Steering: the commands of the command centre, asked for with a form, confirmed with a button, audited, and run here.

The same functions, warnings and roles as in Telegram (`operations.commands`). Nothing is sent to the exchange from here: the
guard and the bots carry out what they are asked over Redis.
"""

import asyncio
from html import escape

from aiohttp import web

from alpha.errors import AlphaError, Rejected
from alpha.logs import logger
from alpha.postgres.sql import queries
from dashboard import gate
from dashboard.asked import read_bot
from dashboard.gate import Gate
from dashboard.login import require_form
from dashboard.runs import Run, Runs
from dashboard.shell import page
from dashboard.steering_page import hidden, steering_page
from operations.arguments import Arguments, read_words
from operations.audit_log import Attempt, new_id
from operations.audited_commands import AuditedCommands, warning_of
from operations.command_result import CommandResult
from operations.commands import BY_NAME, Command, Role
from operations.confirmations import Confirmations, Pressed
from operations.context import Operations
from operations.dashboard_access import Session
from operations.storable import storable

SQL = queries(__file__)

log = logger(__name__)
#: Commands offered here; those on models stay in Telegram and the terminal.
STEERABLE = frozenset(
    {
        *("start", "stop", "restart", "pause", "resume", "adopt", "flatten", "close", "movestop", "cancelorder"),
        *("blacklist", "unblacklist", "cancel", "panic"),
    }
)
ACKNOWLEDGE = "acknowledge"
#: Commands whose names are not what a person would say.
_SAID = {
    "movestop": "move the stop",
    "cancelorder": "cancel the order",
    "blacklist": "forbid it",
    "unblacklist": "allow it",
}
_MOST_WORDS = 120


class Steering:
    """The routes of steering. `reading` is what pages are read with, `steering` what changes something."""

    def __init__(self, reading: Operations, steering: Operations, door: Gate) -> None:
        self._reading = reading
        self._steering = steering
        self._commands = AuditedCommands(steering, "The dashboard")
        self._gate = door
        self._confirmations = Confirmations()
        self._runs = Runs()

    def routes(self) -> list[web.RouteDef]:
        """The routes."""
        return [
            web.get("/steer", self._show),
            web.post("/steer/ask", self._ask),
            web.post("/steer/confirm", self._confirm),
            web.get("/steer/run/{run:[0-9a-f]{32}}", self._run_page),
        ]

    async def close(self) -> None:
        """Let running commands end for a moment, then cancel them."""
        await self._runs.close()

    async def report_interrupted(self) -> None:
        """Mark the commands that the last process left running as failed."""
        await self._commands.interrupted("dashboard")

    async def _show(self, request: web.Request) -> web.Response:
        own = gate.session(request)
        if own is None or own.role < Role.OPERATOR:
            raise web.HTTPForbidden(text=_needs(Role.OPERATOR), headers=gate.HEADERS)
        named = storable(request.query.get("bot", ""), 60)
        bot = read_bot(self._reading.registry, named) if named else None
        body = await steering_page(self._reading, bot, gate.csrf(request))
        return page(request, body, here="steer")

    async def _ask(self, request: web.Request) -> web.Response:
        """Ask for confirmation of a command, with its consequences."""
        own, form = await require_form(self._gate, request)
        words = storable(f"{form.get('do', '')} {form.get('more', '')}", _MOST_WORDS).split()
        name, said = (words[0].lower(), words[1:]) if words else ("", [])
        attempt = self._attempt(own, name, " ".join(said))
        if name == ACKNOWLEDGE:
            return await self._ask_back(request, own, attempt, name, (), "Acknowledge all alerts? They stop repeating.")
        order = BY_NAME.get(name) if name in STEERABLE else None
        if not isinstance(order, Command):
            return await self._refuse(request, attempt, f"There is no command {name[:40]!r} here.", 400)
        if own.role < order.role:
            return await self._refuse(request, attempt, _needs(order.role), 403)
        try:
            args = read_words(self._steering.registry, order.name, order.usage, order.example, said)
            warning = await warning_of(self._steering, order, args)
        except Rejected as fault:
            return await self._refuse(request, attempt, str(fault), 400)
        attempt = self._attempt(own, name, " ".join(args.words), args)
        return await self._ask_back(request, own, attempt, name, args.words, warning)

    async def _ask_back(
        self, request: web.Request, own: Session, attempt: Attempt, name: str, words: tuple[str, ...], warning: str
    ) -> web.Response:
        if own.role < Role.OPERATOR:
            return await self._refuse(request, attempt, _needs(Role.OPERATOR), 403)
        await self._commands.claim(attempt, "asked")
        token = self._confirmations.ask(own.person, own.id, name, words, attempt.id, self._steering.wall_ms())
        asked, _, more = warning.partition("? ")
        lines = "".join(f"<p>{escape(line)}</p>" for line in more.splitlines())
        kind = " danger" if name in ("panic", "flatten") else ""
        return page(
            request,
            f"<section class=narrow><h1>{escape(asked.removesuffix('?'))}?</h1>{lines}<p class=dim>Valid for one minute.</p>"
            f'<form method=post action="/steer/confirm" class=answers>{hidden(gate.csrf(request))}'
            f'<input type=hidden name=token value="{token}"><button name=answer value=yes class="main{kind}">'
            f"Yes, {_SAID.get(name, name)}</button><button name=answer value=no>No</button></form></section>",
            here="steer",
        )

    async def _confirm(self, request: web.Request) -> web.Response:
        """Take the answer: each question once, from the session that was asked, within its minute."""
        own, form = await require_form(self._gate, request)
        pressed, pending = self._confirmations.press(
            form.get("token", "")[:100], form.get("answer", ""), own.person, own.id, self._steering.wall_ms()
        )
        if pressed is Pressed.OTHERS or pending is None:
            why = "This question was put to somebody else." if pressed is Pressed.OTHERS else "It was answered already."
            return await self._refuse(request, self._attempt(own, "confirm", ""), why, 409)
        attempt = self._attempt(own, pending.command, " ".join(pending.words))
        if pressed is Pressed.EXPIRED:
            await self._commands.claim(attempt, "expired")
            return self._said(request, "Older than a minute: not done. Ask again.", 409)
        if pressed is not Pressed.YES:
            await self._commands.claim(attempt, "refused", "answered no")
            return self._said(request, "Not done.", 200)
        order = BY_NAME.get(pending.command)
        needed = order.role if order is not None else Role.OPERATOR
        if own.role < needed:
            return await self._refuse(request, attempt, _needs(needed), 403)
        # nothing runs that the audit log does not have
        await self._commands.claim(attempt, "confirmed")
        said = " ".join((f"/{pending.command}", *pending.words))
        run = self._runs.begin(
            own.person, said, lambda run: self._carry_out(run, pending.command, pending.words, attempt)
        )
        return web.Response(status=303, headers={**gate.HEADERS, "Location": f"/steer/run/{run.id}"})

    async def _carry_out(self, run: Run, name: str, words: tuple[str, ...], attempt: Attempt) -> None:
        try:
            async with self._commands.recorded(attempt.id) as ended:
                result = await self._act(run, name, words, attempt.by)
                ended.take(result)
            run.finish(done=result.done, text=result.text)
        except AlphaError as fault:
            run.finish(done=False, text=str(fault))
        except asyncio.CancelledError:
            run.finish(done=False, text="The dashboard was stopped while it ran. Look at the positions.")
            raise
        except Exception:
            log.exception("unforeseen_fault", command=name)
            run.finish(done=False, text="That went wrong here; the log has the details.")

    async def _act(self, run: Run, name: str, words: tuple[str, ...], by: str) -> CommandResult:
        async def tell(sentence: str) -> None:
            run.lines.append(sentence)

        if name == ACKNOWLEDGE:
            await self._steering.history.value(SQL["acknowledge"], by)
            return CommandResult(True, "The command centre acknowledges them within a few seconds.")
        order = BY_NAME[name]
        if not isinstance(order, Command):
            raise Rejected(f"{name} is not a command.")
        args = read_words(self._steering.registry, order.name, order.usage, order.example, list(words))
        return await order.run(self._steering, args, by, tell)

    async def _run_page(self, request: web.Request) -> web.Response:
        """How a command goes; it fetches itself again until the command has ended."""
        own = gate.session(request)
        run = self._runs.find(request.match_info["run"])
        if own is None or run is None or run.person != own.person:
            raise web.HTTPNotFound(text="There is no such command of yours; the audit has those that ended.\n")
        lines = "".join(f"<p>{escape(line)}</p>" for line in run.lines[-30:])
        if run.ended:
            mark = "good" if run.done else "bad"
            text = "".join(f"<p class={mark}>{escape(line)}</p>" for line in run.text.splitlines() or [""])
            again = ""
        else:
            text = "<p class=dim>Under way ...</p>"
            again = f' hx-get="/steer/run/{run.id}" hx-trigger="load delay:1s" hx-select="#run" hx-swap=outerHTML'
        return page(
            request,
            f"<section id=run class=narrow aria-live=polite{again}><h1>{escape(run.said)}</h1>{lines}{text}"
            f'<p><a class=button href="/steer">Back to steering</a></p></section>',
            here="steer",
        )

    async def _refuse(self, request: web.Request, attempt: Attempt, why: str, status: int) -> web.Response:
        await self._commands.claim(attempt, "refused", why)
        return self._said(request, why, status)

    def _said(self, request: web.Request, text: str, status: int) -> web.Response:
        return page(
            request,
            f"<section class=narrow><p class={'dim' if status == 200 else 'bad'}>{escape(storable(text, 2_000))}</p>"
            '<p><a class=button href="/steer">Back to steering</a></p></section>',
            here="steer",
            status=status,
        )

    def _attempt(self, own: Session, name: str, words: str, args: Arguments | None = None) -> Attempt:
        known = name if name in STEERABLE or name in (ACKNOWLEDGE, "confirm") else "unknown command"
        bot = "" if args is None or args.bot is None else args.bot.id
        if not bot:
            bot = next(
                (each.id for each in self._steering.registry.bots if words.split()[:1] == [self._word(each.id)]), ""
            )
        return Attempt(
            new_id("dashboard"),
            "dashboard",
            str(own.person),
            own.role.name.lower(),
            f"session {own.id}",
            known,
            bot,
            {"words": words} if words else {},
        )

    def _word(self, bot_id: str) -> str:
        return self._steering.registry.word_of(self._steering.registry.find(bot_id))


def _needs(needed: Role) -> str:
    return f"This needs the role {needed.name.lower()}: log in with a link of the bot (/dashboard).\n"
