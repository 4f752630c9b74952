"""Tokens of the API's clients: made, listed, revoked and checked. Only a digest is kept; a token is shown once."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from alpha.errors import Misconfigured, Rejected, shown
from alpha.postgres.sql import queries
from operations.context import Operations
from operations.storable import storable

SQL = queries(__file__)

SCOPES = ("read", "audit", "propose")
MOST_DAYS = 3_650
MOST_NAME = 60
_PREFIX = "alpha"


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One token, without its secret part."""

    token_id: str
    client: str
    scopes: tuple[str, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Client:
    """Who sent a request: the owner of its token, and what it may do."""

    token_id: str
    name: str
    scopes: frozenset[str]
    expires_at: datetime


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


async def create(platform: Operations, client: str, scopes: list[str], days: int, by: str) -> str:
    """Make a token; returns it, the only time that it is known. Misconfigured for an unknown scope, a bad duration or name."""
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise Misconfigured(f"Scopes must be among {', '.join(SCOPES)}, got {', '.join(unknown) or 'none'}.")
    if not 1 <= days <= MOST_DAYS:
        raise Misconfigured(f"A token must last 1 to {MOST_DAYS} days, got {days}.")
    if len(client.strip()) > MOST_NAME:
        raise Misconfigured(
            f"A token's name has at most {MOST_NAME} characters, got {shown(client)}. Choose a shorter one."
        )
    name = storable(client, MOST_NAME).strip()
    if not name:
        raise Misconfigured("Say whose token it is, for example: alpha token create grafana.")
    token_id = secrets.token_hex(6)
    token = f"{_PREFIX}_{token_id}_{secrets.token_urlsafe(32)}"
    await platform.history.value(
        SQL["issue"],
        token_id,
        name,
        _digest(token),
        sorted(set(scopes)),
        by,
        platform.wall_now() + timedelta(days=days),
    )
    return token


async def tokens(platform: Operations) -> list[TokenRow]:
    """Return all tokens, newest first."""
    rows = await platform.history.rows(SQL["tokens"])
    return [
        TokenRow(
            row["token_id"],
            row["client"],
            tuple(row["scopes"]),
            row["created_at"],
            row["created_by"],
            row["expires_at"],
            row["revoked_at"],
        )
        for row in rows
    ]


async def revoke(platform: Operations, token_id: str, by: str) -> str:
    """Revoke a token; returns whose it was. Rejected if there is no such valid token."""
    client = await platform.history.value(
        SQL["revoke"],
        storable(token_id, 60),
        by,
    )
    if client is None:
        raise Rejected(f"There is no valid token {token_id[:60]!r}. `alpha token list` shows them.")
    return str(client)


async def check(platform: Operations, token: str) -> Client | None:
    """Return whose token this is; None if it is unknown, expired or revoked. Raises Retry while PostgreSQL is away."""
    parts = token.split("_", 2)
    if len(parts) != 3 or parts[0] != _PREFIX or len(token) > 200 or not parts[1].isascii() or not parts[1].isalnum():
        return None
    rows = await platform.history.rows(
        SQL["by_id"],
        parts[1],
    )
    if not rows or not hmac.compare_digest(bytes(rows[0]["digest"]), _digest(token)):
        return None
    row = rows[0]
    if row["expires_at"] <= platform.wall_now():
        return None
    return Client(parts[1], row["client"], frozenset(row["scopes"]), row["expires_at"])
