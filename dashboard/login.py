"""Logging in with a link of the bot, the list of sessions, and logging out.

The link is a GET that shows a button: programs that preview links fetch it, and must not use it up. The button's POST does.
"""

from html import escape

from aiohttp import web

from alpha.errors import Rejected
from alpha.logs import logger
from dashboard import gate
from dashboard.gate import SESSION_COOKIE, Gate
from dashboard.settings import DashboardSettings
from dashboard.shell import page
from operations import dashboard_access
from operations.audit_log import Attempt, new_id, note_attempt
from operations.commands import Role
from operations.context import Operations
from operations.dashboard_access import Session
from operations.formatting import full_moment
from operations.storable import storable

log = logger(__name__)
_MOST_CODE = 100
DAMAGED = "The body of the request is damaged. Send the form again."
_GONE = (
    "<section><h1>This link opens nothing</h1><p>It was used, is older than five minutes, or is incomplete. "
    "Send <b>/dashboard</b> to the command centre's bot for another one.</p></section>"
)


class Login:
    """The routes of logging in and out, for a dashboard that steers."""

    def __init__(self, settings: DashboardSettings, steering: Operations, door: Gate) -> None:
        self._settings = settings
        self._steering = steering
        self._gate = door

    def routes(self) -> list[web.RouteDef]:
        """The routes."""
        return [
            web.get("/login", self._ask),
            web.post("/login", self._open),
            web.get("/sessions", self._sessions),
            web.post("/sessions/end", self._end),
        ]

    async def _ask(self, request: web.Request) -> web.Response:
        code = storable(request.query.get("code", ""), _MOST_CODE)
        if not code:
            return page(request, _GONE, status=400)
        return page(
            request,
            "<section class=narrow><h1>Log in to Alpha</h1><p>This link works once, within five minutes.</p>"
            f'<form method=post action="/login"><input type=hidden name=code value="{escape(code)}">'
            "<button class=main>Log in</button></form></section>",
        )

    async def _open(self, request: web.Request) -> web.Response:
        if not self._gate.same_origin(request):
            await self._gate.failed(request, "a login from another site")
            raise web.HTTPForbidden(text="This form was not sent by the dashboard.\n", headers=gate.HEADERS)
        code = (await _fields(request)).get("code", "")[:_MOST_CODE]
        address, agent = request.remote or "unknown", request.headers.get("User-Agent", "")
        opened = await dashboard_access.open_session(self._steering, code, address, agent, self._settings.session_life)
        if opened is None:
            await self._gate.failed(request, "a link that is unknown, used or expired")
            return page(request, _GONE, status=403)
        cookie, session = opened
        self._gate.know(cookie)
        await note_attempt(self._steering, _attempt(session, "login", {"agent": storable(agent, 200)}), "done")
        log.info("logged_in", person=session.person, session=session.id, address=address)
        answer = web.Response(status=303, headers={**gate.HEADERS, "Location": "/"})
        answer.set_cookie(
            SESSION_COOKIE,
            cookie,
            httponly=True,
            samesite="Strict",
            secure=True,
            path="/",
            max_age=int(self._settings.session_life.total_seconds()),
        )
        return answer

    async def _sessions(self, request: web.Request) -> web.Response:
        own = gate.session(request)
        if own is None:
            raise Rejected("Only who logged in with a link of the bot has sessions. Send it /dashboard.")
        everybody = own.role >= Role.ADMIN
        rows = await dashboard_access.sessions(self._steering, None if everybody else own.person)
        lines = "".join(self._line(row, own, gate.csrf(request)) for row in rows)
        whose = "Sessions" if everybody else "Your sessions"
        return page(
            request,
            f"<section><h2>{whose}</h2><div class=scroll><table class=cards-table><thead><tr><th scope=col>who</th>"
            "<th scope=col>role</th><th scope=col>since</th><th scope=col>seen</th><th scope=col>until</th>"
            "<th scope=col>from</th><th scope=col>browser</th><th scope=col></th></tr></thead>"
            f"<tbody>{lines}</tbody></table></div></section>",
        )

    def _line(self, row: Session, own: Session, token: str) -> str:
        zone = self._steering.zone
        cells = (
            ("who", row.name),
            ("role", row.role.name.lower()),
            ("since", full_moment(row.created_at, zone)),
            ("seen", full_moment(row.seen_at, zone)),
            ("until", full_moment(row.expires_at, zone)),
            ("from", row.address),
            ("browser", row.agent),
        )
        shown = "".join(
            f'<td{" class=long" if name == "browser" else ""} data-label="{name}">{escape(text)}</td>'
            for name, text in cells
        )
        label = "Log out" if row.id == own.id else "End"
        return (
            f'<tr>{shown}<td data-label=""><form method=post action="/sessions/end"><input type=hidden name=csrf value="{token}">'
            f'<input type=hidden name=session value="{escape(row.id)}"><button>{label}</button></form></td></tr>'
        )

    async def _end(self, request: web.Request) -> web.Response:
        own, form = await require_form(self._gate, request)
        name = storable(str(form.get("session", "")), 20)
        person = None if own.role >= Role.ADMIN else own.person
        ended = await dashboard_access.end_sessions(
            self._steering, f"dashboard:{own.person}", person=person, session=name
        )
        outcome = "done" if ended else "refused"
        await note_attempt(self._steering, _attempt(own, "logout", {"session": name}), outcome)
        answer = web.Response(status=303, headers={**gate.HEADERS, "Location": "/sessions"})
        if name == own.id:
            answer = page(request, "<section><h1>You are logged out</h1></section>")
            answer.del_cookie(SESSION_COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
        return answer


async def require_form(door: Gate, request: web.Request) -> tuple[Session, dict[str, str]]:
    """The session and the fields of a form that this session's own page sent. HTTPForbidden otherwise."""
    own = gate.session(request)
    if own is None:
        await door.failed(request, "a form without a session")
        raise web.HTTPForbidden(
            text="This needs a login: send /dashboard to the command centre's bot.\n", headers=gate.HEADERS
        )
    form = await _fields(request)
    if not door.same_origin(request) or not gate.same(form.get("csrf", ""), gate.csrf(request)):
        await door.failed(request, "a form that no page of this session sent")
        raise web.HTTPForbidden(text="This form was not sent by your page. Reload it.\n", headers=gate.HEADERS)
    return own, form


async def _fields(request: web.Request) -> dict[str, str]:
    """The fields of a form. Rejected for a body that is no form, and for a field that is given twice: which one is meant?"""
    try:
        sent = await request.post()
    except (ValueError, LookupError, RuntimeError):
        # no text of its character set, parts without a name or an end, an encoding that nobody knows
        raise Rejected(DAMAGED) from None
    twice = next((name for name in sent if len(sent.getall(name)) > 1), None)
    if twice is not None:
        raise Rejected(f"The field {storable(twice)!r:.62} is given twice. Reload the page and send the form again.")
    return {name: value for name, value in sent.items() if isinstance(value, str)}


def _attempt(session: Session, name: str, arguments: dict[str, str]) -> Attempt:
    return Attempt(
        new_id("dashboard"),
        "dashboard",
        str(session.person),
        session.role.name.lower(),
        f"session {session.id}",
        name,
        "",
        {**arguments, "address": session.address},
    )
