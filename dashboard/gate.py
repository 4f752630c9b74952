"""Who gets in: the token's cookie, which only reads, or a session from a link of the bot, which has a person and a role.

| shown | answer |
|---|---|
| the token, once, as ?token= | the cookie that reads |
| the cookie that reads | every page, nothing that changes anything |
| a session's cookie | every page; steering by its role |
| a wrong token, link or cookie | 401; after a number of them in a minute 429, without being looked at, and an alert |
"""

import hashlib
import hmac
import secrets
from urllib.parse import urlsplit

from aiohttp import web

from alpha.alerts import Alert, Alerts, Level
from alpha.clock import monotonic_ms, wall_ms
from alpha.errors import AlphaError
from alpha.logs import logger
from dashboard.settings import DashboardSettings
from operations.audit_log import Attempt, new_id, note_attempt
from operations.commands import Role
from operations.context import Operations
from operations.dashboard_access import Session, session_of
from operations.minute_limit import MinuteLimit
from operations.storable import storable

log = logger(__name__)
#: The cookie that reads, and that of a session. A browser takes the second over https and from this host alone.
COOKIE, SESSION_COOKIE = "alpha_dashboard", "__Host-alpha_session"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # not no-referrer: a browser would send the Origin of every form as null
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
#: Failures of all addresses together that are written to the audit log per minute, and how often an address is alerted.
_AUDITED_PER_MINUTE, _ALERT_EVERY_MS = 60, 600_000
_LOGIN = "/login"
_KEY: web.RequestKey[Session] = web.RequestKey("session", Session)
_MOST_KNOWN = 500


class Gate:
    """Admits requests. `steering` is None while the dashboard only reads; then there are no sessions."""

    def __init__(self, settings: DashboardSettings, alerts: Alerts, steering: Operations | None) -> None:
        self._settings = settings
        self._alerts = alerts
        self._steering = steering
        # The cookie is not the token: it is only valid for this process.
        self._reading = secrets.token_urlsafe(32)
        self._failures = MinuteLimit(settings.dashboard_failures_per_minute)
        self._audited = MinuteLimit(_AUDITED_PER_MINUTE)
        self._alerted: dict[str, int] = {}
        #: Digests of cookies that were valid: while an address is limited, only these are looked up.
        self._known: dict[bytes, None] = {}

    async def admit(self, request: web.Request) -> web.Response | None:
        """None for a request that may pass, with its session if it has one; otherwise the answer to give."""
        shown, address = request.query.get("token", ""), request.remote or "unknown"
        limited_s = self._failures.left_s(address, count=False)
        if self._steering is not None:
            if request.path.startswith("/scripts/") or (request.path == _LOGIN and not limited_s):
                return None
            cookie = request.cookies.get(SESSION_COOKIE, "")
            session = await self._session(cookie, known_only=bool(limited_s)) if cookie else None
            if session is not None:
                request[_KEY] = session
                return None
            if cookie and not limited_s:
                await self.failed(request, "an unknown cookie of a session")
        reads = same(request.cookies.get(COOKIE, ""), self._reading)
        if limited_s and (shown or not reads):
            # a guess is not even compared: what is limited cannot be tried out
            headers = {**HEADERS, "Retry-After": f"{limited_s:.0f}"}
            return web.Response(status=429, text="Too many requests without the right token.\n", headers=headers)
        if shown and same(shown, self._settings.dashboard_token.get_secret_value()):
            # a path that begins with two slashes would lead to another host
            answer = web.Response(status=303, headers={"Location": "/" + request.path.lstrip("/\\")})
            secure = request.secure or self._steering is not None
            answer.set_cookie(
                COOKIE, self._reading, httponly=True, samesite="Strict", secure=secure, max_age=7 * 86_400
            )
            return answer
        if reads:
            return None
        if shown or COOKIE in request.cookies:
            await self.failed(request, "a wrong token or cookie")
        return web.Response(status=401, text=self._closed(), headers=HEADERS)

    def _closed(self) -> str:
        link = "" if self._steering is None else ", or send /dashboard to the command centre's bot for a link"
        return f"Open this page once with ?token=... (DASHBOARD_TOKEN){link}.\n"

    async def _session(self, cookie: str, *, known_only: bool) -> Session | None:
        digest = hashlib.sha256(cookie.encode("utf-8", "replace")).digest()
        if self._steering is None or (known_only and digest not in self._known):
            return None
        session = await session_of(self._steering, cookie)
        self._known.pop(digest, None)
        if session is not None:
            self.know(cookie)
        return session

    def know(self, cookie: str) -> None:
        """Remember a valid cookie: whoever is in stays in while others guess."""
        self._known[hashlib.sha256(cookie.encode("utf-8", "replace")).digest()] = None
        while len(self._known) > _MOST_KNOWN:
            self._known.pop(next(iter(self._known)))

    async def still_admitted(self, request: web.Request) -> bool:
        """Whether a request that goes on for long may go on: its session was not ended meanwhile."""
        if session(request) is None:
            return True
        try:
            return await self._session(request.cookies.get(SESSION_COOKIE, ""), known_only=False) is not None
        except AlphaError:
            # live state is shown without PostgreSQL, too; nothing can be steered then
            return True

    def wait_s(self, request: web.Request) -> float:
        """Seconds until this address may try again; 0.0 if it may now."""
        return self._failures.left_s(request.remote or "unknown", count=False)

    async def failed(self, request: web.Request, what: str) -> None:
        """Count a failure of this address, log it, audit it while steering, and alert when there are too many."""
        address = storable(request.remote or "unknown", 100)
        self._failures.left_s(address)
        log.warning("login_refused", address=address, what=what)
        if self._failures.left_s(address, count=False):
            await self._alert(address)
        if self._steering is None or self._audited.left_s(""):
            return
        arguments = {"why": what, "path": storable(request.path, 100)}
        attempt = Attempt(new_id("dashboard"), "dashboard", "nobody", "", address, "login", "", arguments)
        try:
            await note_attempt(self._steering, attempt, "refused")
        except AlphaError as fault:
            log.warning("audit_waits", fault=str(fault))

    async def _alert(self, address: str) -> None:
        now = monotonic_ms()
        if now - self._alerted.get(address, -_ALERT_EVERY_MS) < _ALERT_EVERY_MS:
            return
        if len(self._alerted) > _MOST_KNOWN:
            self._alerted.clear()
        self._alerted[address] = now
        text = f"{address} shows the dashboard wrong tokens, links or cookies, more than {self._settings.dashboard_failures_per_minute} in a minute."
        remedy = "It is answered 429 and not looked at. If it is none of you, close the dashboard to that network."
        await self._alerts.raise_alert(Alert(Level.WARNING, f"dashboard-guessing:{address}", text, remedy), wall_ms())

    def same_origin(self, request: web.Request) -> bool:
        """Whether a form was sent by a page of this dashboard, as the browser says."""
        parts = urlsplit(request.headers.get("Origin", ""))
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        return f"{parts.scheme}://{parts.netloc}" == self._settings.dashboard_public_url and site == "same-origin"


def session(request: web.Request) -> Session | None:
    """The session of an admitted request; None for one that only reads."""
    return request.get(_KEY)


def role(request: web.Request) -> Role:
    """The role of an admitted request; a viewer without a session."""
    found = session(request)
    return Role.VIEWER if found is None else found.role


def csrf(request: web.Request) -> str:
    """What a form of this session must carry: nobody can make it who does not know the cookie. Empty without a session."""
    cookie = request.cookies.get(SESSION_COOKIE, "")
    if session(request) is None:
        return ""
    return hmac.new(cookie.encode(), b"form", hashlib.sha256).hexdigest()


def same(shown: str, wanted: str) -> bool:
    """Compare in constant time; `shown` may hold bytes that are not valid text."""
    return hmac.compare_digest(shown.encode("utf-8", "replace"), wanted.encode())
