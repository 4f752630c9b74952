"""Connections to PostgreSQL, direct or through PgBouncer.

`numeric` arrives as Decimal, `timestamptz` as an aware UTC datetime, `jsonb` as Python values with Decimal numbers.
"""

import json
from decimal import Decimal
from typing import Any, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from alpha.config.services import DatabaseSettings
from alpha.errors import Fatal
from alpha.postgres.errors import POSTGRES_ERRORS, explained

__all__ = [
    "POSTGRES_ERRORS",
    "Connection",
    "Pool",
    "PooledConnection",
    "Record",
    "connect",
    "create_pool",
    "explained",
    "fetch_one",
    "prepare",
]

Pool: TypeAlias = asyncpg.Pool
#: A connection that a pool lends.
PooledConnection: TypeAlias = PoolConnectionProxy
#: A connection, standalone or lent by a pool.
Connection: TypeAlias = asyncpg.Connection | PooledConnection
Record: TypeAlias = asyncpg.Record

CONNECT_TIMEOUT_S = 10.0
_DECODE = json.JSONDecoder(parse_float=Decimal).decode


async def prepare(connection: Connection) -> None:
    """Register our type codecs on a new connection."""
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=_DECODE, schema="pg_catalog")


async def fetch_one(connection: Connection, sql: str, *arguments: object, timeout: float | None = None) -> Record:
    """The row of a query that always has one; `timeout` in seconds. Raises Fatal when it has none."""
    row = await connection.fetchrow(sql, *arguments, timeout=timeout)
    if row is None:
        raise Fatal(f"PostgreSQL gave no row where there is always one. Report it, with the query: {sql.strip()}")
    return row


def _arguments(settings: DatabaseSettings, application: str) -> dict[str, Any]:
    return {
        "host": settings.postgres_host,
        "port": settings.postgres_port,
        "database": settings.postgres_db,
        "user": settings.postgres_user,
        "password": settings.postgres_password.get_secret_value(),
        "timeout": CONNECT_TIMEOUT_S,
        "server_settings": {"application_name": application, "timezone": "UTC"},
    }


async def connect(settings: DatabaseSettings, application: str) -> Connection:
    """Open one connection. Raises Retry or Misconfigured; the message names address and setting."""
    try:
        connection: Connection = await asyncpg.connect(**_arguments(settings, application))
        await prepare(connection)
    except POSTGRES_ERRORS as fault:
        raise explained(fault, settings) from None
    return connection


async def create_pool(
    settings: DatabaseSettings,
    application: str,
    *,
    min_size: int = 1,
    max_size: int = 4,
    command_timeout_s: float = 30.0,
    planned_anew: bool = False,
) -> Pool:
    """A pool whose connections cache prepared statements. `application` shows in pg_stat_activity.

    `planned_anew`: each query is planned with its values. A plan for any values, which PostgreSQL makes of a statement
    that was executed five times, takes `LIMIT $3` for a tenth of the table and reads all of it.

    Raises Retry while the server is unreachable, Misconfigured when it refuses us; close with `await pool.close()`.
    """
    arguments = _arguments(settings, application)
    if planned_anew:
        arguments["statement_cache_size"] = 0
    try:
        return await asyncpg.create_pool(
            **arguments,
            min_size=min_size,
            max_size=max_size,
            command_timeout=command_timeout_s,
            init=prepare,
        )
    except POSTGRES_ERRORS as fault:
        raise explained(fault, settings) from None
