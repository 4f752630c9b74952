"""Logging in to the dashboard: one-time links that the command centre's bot hands out, and the sessions they open."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from alpha.config.loader import Settings
from alpha.postgres.sql import queries
from operations.commands import Role
from operations.context import Operations
from operations.storable import storable

SQL = queries(__file__)

#: How long a link can open a session.
LINK_LIFE = timedelta(minutes=5)
_MOST_NAME = 60


class DashboardAccess(Settings):
    """Whether the dashboard steers, and where people reach it; read by the dashboard and the command centre."""

    dashboard_steering: bool = Field(
        False,
        description="true to let operators who log in with a link from the bot (/dashboard) steer from the dashboard",
    )
    dashboard_public_url: str = Field(
        "",
        description="the https address under which people reach the dashboard, for example https://alpha.example.org",
    )

    @field_validator("dashboard_public_url")
    @classmethod
    def _public(cls, url: str) -> str:
        if not url:
            return url
        parts = urlsplit(url)
        try:
            port_fits = parts.port is None or parts.port > 0
        except ValueError:
            port_fits = False
        if parts.scheme != "https" or not parts.hostname or not port_fits:
            raise ValueError(f"{url!r} is not an https address (example: https://alpha.example.org)")
        if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username or parts.password:
            raise ValueError(f"{url!r} must be a scheme and a host alone (example: https://alpha.example.org)")
        return f"https://{parts.netloc.lower()}"

    @model_validator(mode="after")
    def _reachable(self) -> "DashboardAccess":
        if self.dashboard_steering and not self.dashboard_public_url:
            raise ValueError(
                "DASHBOARD_STEERING needs DASHBOARD_PUBLIC_URL: the https address of the dashboard, which the bot's links "
                "lead to. docs/dashboard.md says how to put one in front."
            )
        return self


@dataclass(frozen=True, slots=True)
class Session:
    """One session. `person` is a Telegram id; `name` and `agent` are texts from outside; times are wall-clock."""

    id: str
    person: int
    name: str
    role: Role
    address: str
    agent: str
    created_at: datetime
    expires_at: datetime
    seen_at: datetime


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


async def make_link(platform: Operations, person: int, name: str, role: Role) -> str:
    """Make the code of a link for this person; only its digest is kept. Raises Retry while PostgreSQL is unavailable."""
    code = secrets.token_urlsafe(32)
    await platform.history.value(
        SQL["invite"],
        _digest(code),
        person,
        storable(name, _MOST_NAME),
        role.name.lower(),
        LINK_LIFE,
    )
    return code


async def open_session(
    platform: Operations, code: str, address: str, agent: str, lasts: timedelta
) -> tuple[str, Session] | None:
    """Use up a link: the new session's cookie and the session; None if the link is unknown, used or expired."""
    cookie, name = secrets.token_urlsafe(32), secrets.token_hex(4)
    used = await platform.history.rows(
        SQL["open_session"],
        _digest(code),
        name,
        _digest(cookie),
        storable(address, 100),
        storable(agent, 200),
        lasts,
    )
    if not used:
        return None
    session = await session_of(platform, cookie)
    return None if session is None else (cookie, session)


async def session_of(platform: Operations, cookie: str) -> Session | None:
    """The valid session of a cookie; notes, once a minute, that it was seen."""
    rows = await platform.history.rows(
        SQL["session"],
        _digest(cookie),
    )
    if not rows:
        return None
    found = _session(rows[0])
    await platform.history.value(
        SQL["touch"],
        found.id,
    )
    return found


async def sessions(platform: Operations, person: int | None) -> list[Session]:
    """The valid sessions of a person, or of everybody; newest first."""
    rows = await platform.history.rows(
        SQL["sessions"],
        person,
    )
    return [_session(row) for row in rows]


async def end_sessions(platform: Operations, by: str, *, person: int | None = None, session: str | None = None) -> int:
    """End the sessions of a person, or one by its id; with both, only if it is that person's. Returns how many."""
    rows = await platform.history.rows(
        SQL["end"],
        by,
        person,
        session,
    )
    return len(rows)


async def end_changed_roles(platform: Operations, roles: dict[int, Role]) -> int:
    """End the sessions of people who have another role now, or none. Returns how many."""
    ended = 0
    for session in await sessions(platform, None):
        if roles.get(session.person) is not session.role:
            ended += await end_sessions(platform, "a change of role", session=session.id)
    return ended


async def untold_sessions(platform: Operations) -> list[Session]:
    """The sessions of the last hour whose person has not been told yet, oldest first; marks them as told."""
    rows = await platform.history.rows(SQL["tell_new"])
    return sorted(map(_session, rows), key=lambda row: row.created_at)


def _session(row: Any) -> Session:
    return Session(
        row["session_id"],
        row["person"],
        row["name"],
        Role[row["role"].upper()],
        row["address"],
        row["agent"],
        row["created_at"],
        row["expires_at"],
        row["seen_at"],
    )
