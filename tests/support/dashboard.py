"""A dashboard that steers, over the complete system, and people who use it as a browser does."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import httpx
from aiohttp import web

from alpha import clock
from alpha.config.loader import load
from alpha.config.services import DatabaseSettings
from alpha.live_state.connect import RedisClients
from bot_control.no_control import NoControl
from dashboard.app import Dashboard
from dashboard.gate import SESSION_COOKIE
from dashboard.settings import DashboardSettings
from demo.ports import free_port
from operations.commands import Role
from operations.context import History, Operations
from operations.dashboard_access import make_link
from operations.guard_control import GuardControl
from tests.support.operations import as_role

TOKEN = "a-token-of-the-tests-that-is-long"
PUBLIC = "https://desk.example"
ADMIN, OPERATOR, OTHER, VIEWER = 101, 201, 202, 301
NAMES = {ADMIN: "Ada", OPERATOR: "Otto", OTHER: "Olga", VIEWER: "Vera"}
ROLES = {ADMIN: Role.ADMIN, OPERATOR: Role.OPERATOR, OTHER: Role.OPERATOR, VIEWER: Role.VIEWER}
_FIELD = re.compile(r'<input type=hidden name=(csrf|token) value="([^"]*)">')


@dataclass
class Person:
    """One browser. It sends Origin as browsers do; its cookies are kept here, because the tests speak plain http."""

    client: httpx.AsyncClient
    cookies: dict[str, str] = field(default_factory=dict)
    origin: str = PUBLIC

    async def get(self, path: str, **more: Any) -> httpx.Response:
        """GET a path."""
        return await self._send("GET", path, **more)

    async def post(self, path: str, form: dict[str, str], **more: Any) -> httpx.Response:
        """POST a form."""
        return await self._send("POST", path, **({"data": form} if form else {}), **more)

    async def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = dict(more.pop("headers", {}))
        if method == "POST" and self.origin:
            headers.setdefault("Origin", self.origin)
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = await self.client.request(method, path, headers=headers, **more)
        for line in answer.headers.get_list("Set-Cookie"):
            name, _, value = line.split(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    async def log_in(self, link: str) -> httpx.Response:
        """Press the button of a link's page."""
        return await self.post("/login", {"code": link})

    async def csrf(self) -> str:
        """What the forms of this session carry."""
        found: dict[str, str] = dict(_FIELD.findall((await self.get("/steer")).text))
        return found["csrf"]

    async def ask(self, do: str, **more: str) -> httpx.Response:
        """Ask for a command."""
        return await self.post("/steer/ask", {"csrf": await self.csrf(), "do": do, **more})

    async def confirm(self, asked: httpx.Response, answer: str = "yes") -> httpx.Response:
        """Answer the question that a page asks."""
        found = dict(_FIELD.findall(asked.text))
        return await self.post("/steer/confirm", {"csrf": found["csrf"], "token": found["token"], "answer": answer})

    async def run(self, do: str, **more: str) -> str:
        """Ask for a command, confirm it, and return the page of its end."""
        answer = await self.confirm(await self.ask(do, **more))
        assert answer.status_code == 303, answer.text
        while True:
            text = (await self.get(answer.headers["Location"])).text
            if "Under way" not in text:
                return text
            await asyncio.sleep(0.05)


@dataclass
class Desk:
    """A running dashboard that steers."""

    dashboard: Dashboard
    centre: Operations
    address: str
    steering: Operations

    async def link(self, person: int) -> str:
        """A new link of this person, as the bot makes it."""
        return await make_link(self.centre, person, NAMES[person], ROLES[person])

    @contextlib.asynccontextmanager
    async def browser(self) -> AsyncIterator[Person]:
        """A browser that is not logged in."""
        async with httpx.AsyncClient(base_url=self.address, timeout=30) as client:
            yield Person(client)

    @contextlib.asynccontextmanager
    async def person(self, who: int) -> AsyncIterator[Person]:
        """A person who is logged in."""
        async with self.browser() as made:
            answer = await made.log_in(await self.link(who))
            assert answer.status_code == 303, answer.text
            assert SESSION_COOKIE in made.cookies
            yield made

    async def audit(self) -> list[tuple[str, str, str, str]]:
        """Source, issuer, name and outcome of every attempt, oldest first."""
        rows = await self.centre.history.rows(
            "SELECT source, issuer, name, outcome FROM audit.commands ORDER BY issued_at, command_id"
        )
        return [(row["source"], row["issuer"], row["name"], row["outcome"]) for row in rows]


def dashboard_settings(database: DatabaseSettings, links: RedisClients, **more: Any) -> DashboardSettings:
    """Settings of a dashboard that reads and steers with its two roles."""
    reading, steering = as_role(database, "alpha_readonly"), as_role(database, "alpha_dashboard")
    values = {
        "postgres_host": database.postgres_host,
        "postgres_port": database.postgres_port,
        "postgres_db": database.postgres_db,
        "postgres_user": reading.postgres_user,
        "postgres_password": reading.postgres_password.get_secret_value(),
        "alpha_dashboard_db_password": steering.postgres_password.get_secret_value(),
        "redis_port": links._settings.redis_port,
        "redis_password": links._settings.redis_password.get_secret_value(),
        "dashboard_token": TOKEN,
        "dashboard_steering": "true",
        "dashboard_public_url": PUBLIC,
        **more,
    }
    return load(DashboardSettings, env_file=None, **values)


@contextlib.asynccontextmanager
async def steering_desk(
    database: DatabaseSettings,
    links: RedisClients,
    centre: Operations,
    *,
    wall_ms: Callable[[], int] = clock.wall_ms,
    **more: Any,
) -> AsyncIterator[Desk]:
    """A dashboard over this database and Redis. `centre` makes the links, as the command centre does."""
    settings = dashboard_settings(database, links, **more)
    zone = ZoneInfo(settings.alpha_timezone)
    reading = Operations(
        centre.registry, links, History(settings, "test"), NoControl(), zone, wall_ms=wall_ms, settings=settings
    )
    own = History(settings.steering_database(), "test steering")
    steering = Operations(centre.registry, links, own, GuardControl(links), zone, wall_ms=wall_ms, settings=settings)
    dashboard = Dashboard(settings, reading, steering if settings.dashboard_steering else None)
    looking = asyncio.create_task(dashboard.keep_looking())
    runner = web.AppRunner(dashboard.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield Desk(dashboard, centre, f"http://127.0.0.1:{port}", steering)
    finally:
        looking.cancel()
        await runner.cleanup()
        if dashboard.steering is not None:
            await dashboard.steering.close()
        await reading.history.close()
        await own.close()
