"""Connections to PostgreSQL, direct or through PgBouncer.

`numeric` arrives as Decimal, `timestamptz` as an aware UTC datetime, `jsonb` as Python values with Decimal numbers.
"""

import asyncio
import json
import socket
from decimal import Decimal
from typing import Any, TypeAlias

import asyncpg

from alpha.config.services import DatabaseSettings
from alpha.errors import AlphaError, Misconfigured, Retry

#: A connection, taken from a pool or made alone. asyncpg carries no types.
Connection: TypeAlias = Any
Pool: TypeAlias = Any

CONNECT_TIMEOUT_S = 10.0
#: What a connection can raise while it is made or used; InternalClientError is asyncpg's muddle when it was cut in the middle.
POSTGRES_ERRORS = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
#: What passes by itself: connection, shutdown, start-up, locks, full disk, too many connections.
PASSING = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.PostgresSystemError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InsufficientPrivilegeError,
)
_DECODE = json.JSONDecoder(parse_float=Decimal).decode


def passes(fault: BaseException) -> bool:
    """True for a fault of PostgreSQL that a repeat may not meet again."""
    # asyncpg's own complaint about a value is an InterfaceError and a ValueError at once
    return isinstance(fault, PASSING) and not isinstance(fault, ValueError)


async def prepare(connection: Connection) -> None:
    """Teach a new connection our types."""
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=_DECODE, schema="pg_catalog")


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
    """One connection. Raises Retry or Misconfigured, each one sentence that names address and setting."""
    try:
        connection = await asyncpg.connect(**_arguments(settings, application))
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
) -> Pool:
    """A pool of connections that cache their prepared statements. `application` shows in pg_stat_activity.

    Raises Retry while the server cannot be reached, Misconfigured when it refuses us; close it with `await pool.close()`.
    """
    try:
        return await asyncpg.create_pool(
            **_arguments(settings, application),
            min_size=min_size,
            max_size=max_size,
            command_timeout=command_timeout_s,
            init=prepare,
        )
    except POSTGRES_ERRORS as fault:
        raise explained(fault, settings) from None


def explained(fault: Exception, settings: DatabaseSettings) -> AlphaError:
    """The fault as one sentence that names the address and the remedy; a fault that is none of PostgreSQL's is raised."""
    if isinstance(fault, AlphaError):
        return fault
    where = f"PostgreSQL at {settings.postgres_host}:{settings.postgres_port}"
    refused = isinstance(fault, asyncpg.InvalidPasswordError | asyncpg.InvalidAuthorizationSpecificationError)
    # PgBouncer says it in its own way.
    refused = refused or (isinstance(fault, asyncpg.ProtocolViolationError) and "SASL" in str(fault))
    if refused:
        return Misconfigured(
            f"{where} refuses the user {settings.postgres_user}. Check POSTGRES_USER and POSTGRES_PASSWORD."
        )
    if isinstance(fault, asyncpg.InvalidCatalogNameError):
        return Misconfigured(f"{where} has no database {settings.postgres_db}. Check POSTGRES_DB.")
    if isinstance(fault, asyncpg.InsufficientPrivilegeError):
        return Misconfigured(
            f"{where} does not let {settings.postgres_user} do this in {settings.postgres_db}: {str(fault).rstrip('.')}. "
            "Check POSTGRES_USER; the owner may do everything."
        )
    missing = (asyncpg.UndefinedTableError, asyncpg.UndefinedFunctionError, asyncpg.InvalidSchemaNameError)
    if isinstance(fault, (*missing, asyncpg.UndefinedColumnError)):
        return Misconfigured(
            f"The database {settings.postgres_db} of {where} is not up to date: {str(fault).splitlines()[0]}. "
            "Run 'alpha db migrate'."
        )
    if isinstance(fault, asyncpg.CannotConnectNowError | asyncpg.TooManyConnectionsError):
        return Retry(f"{where} accepts no connection now: {str(fault).rstrip('.')}. It is tried again.")
    if isinstance(fault, asyncio.TimeoutError):
        return Retry(f"{where} does not answer in time. Check POSTGRES_HOST and POSTGRES_PORT.")
    if isinstance(fault, socket.gaierror):
        return Retry(f"The host {settings.postgres_host} is not known. Check POSTGRES_HOST.")
    lost = (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError)
    if isinstance(fault, lost):
        return Retry(f"{where} cannot be reached. Start it, or check POSTGRES_HOST and POSTGRES_PORT.")
    raise fault
