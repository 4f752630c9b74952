"""Classifies PostgreSQL errors, in this one place, by SQLSTATE, so that unknown errors have a class too.

| class | meaning | consequence |
|---|---|---|
| PASSING | the server or the connection is unavailable: cut, starting, full, read-only, locked, out of memory, unknown | the same statement is retried |
| OURS | this statement or row can never succeed | the same statement fails again; others may continue |
| REFUSED | the server refuses the login, or is not the right database | the operator must act |

An unknown error counts as passing: a process that protects a position must not exit because of it.
"""

import asyncio
import socket
from enum import Enum, auto

import asyncpg

from alpha.config.services import DatabaseSettings
from alpha.errors import AlphaError, Misconfigured, Rejected, Retry

#: What connecting and querying can raise; asyncpg raises InternalClientError when the connection drops mid-message.
POSTGRES_ERRORS = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


class FaultClass(Enum):
    """What a PostgreSQL error means; see the table in the module docstring."""

    PASSING = auto()
    OURS = auto()
    REFUSED = auto()


#: No such database, schema, table, column, function or type (a migration is missing); no privilege; login refused.
_REFUSED = frozenset({"28000", "28P01", "3D000", "3F000", "42501", "42P01", "42703", "42883", "42704"})
#: SQLSTATE classes that concern the statement or its values: no data, triggered action, feature, case and cardinality,
#: data, integrity, authorisation, routines, check option, syntax, statement limits, RAISE, our own codes.
_OURS = frozenset({"02", "09", "0A", "20", "21", "22", "23", "27", "2F", "38", "39", "42", "44", "54", "P0", "AL"})
#: Transient although their class is in _OURS: a plan outdated by a migration, a cursor or statement lost by the pooler.
_PASSING_ERRORS = (asyncpg.InvalidCachedStatementError, asyncpg.DuplicatePreparedStatementError)


def fault_class(fault: BaseException) -> FaultClass:
    """The class of anything a call to PostgreSQL can raise; errors not from PostgreSQL are OURS."""
    if isinstance(fault, asyncpg.PostgresError):
        return _class_of(fault)
    if isinstance(fault, ValueError):
        # a value the driver cannot encode; asyncpg also raises this as an InterfaceError
        return FaultClass.OURS
    return FaultClass.PASSING if isinstance(fault, POSTGRES_ERRORS) else FaultClass.OURS


def _class_of(fault: asyncpg.PostgresError) -> FaultClass:
    state = str(getattr(fault, "sqlstate", None) or "")
    # PgBouncer uses one code for everything; this is its refusal of a user
    if state in _REFUSED or (state == "08P01" and "SASL" in str(fault)):
        return FaultClass.REFUSED
    if state[:2] in _OURS and not isinstance(fault, _PASSING_ERRORS):
        return FaultClass.OURS
    return FaultClass.PASSING


def passes(fault: BaseException) -> bool:
    """True unless the statement or its row is at fault: the same one may succeed later."""
    return fault_class(fault) is not FaultClass.OURS


def explained(fault: Exception, settings: DatabaseSettings, *, served: bool = False) -> AlphaError:
    """The error as one sentence that names address and remedy: Retry, Rejected or Misconfigured, by its class.

    `served`: this server has served the process before, so a refusal may be temporary and is a Retry as well:
    a process that protects positions must not exit because somebody is working on the database.
    """
    if isinstance(fault, AlphaError):
        return fault
    where = f"PostgreSQL at {settings.postgres_host}:{settings.postgres_port}"
    kind = fault_class(fault)
    if kind is FaultClass.REFUSED:
        sentence = _refusal(fault, where, settings)
        return Retry(f"{sentence} It is tried again.") if served else Misconfigured(sentence)
    if kind is FaultClass.OURS:
        return Rejected(f"{where} refuses a statement: {_first_line(fault)}. Report it with the log.")
    if isinstance(fault, asyncio.TimeoutError):
        return Retry(f"{where} does not answer in time. Check POSTGRES_HOST and POSTGRES_PORT.")
    if isinstance(fault, socket.gaierror):
        return Retry(f"The host {settings.postgres_host} is not known. Check POSTGRES_HOST.")
    if isinstance(fault, asyncpg.CannotConnectNowError | asyncpg.TooManyConnectionsError):
        return Retry(f"{where} accepts no connection now: {_first_line(fault)}. It is tried again.")
    if isinstance(fault, asyncpg.PostgresError) and not isinstance(fault, asyncpg.PostgresConnectionError):
        return Retry(f"{where} does not serve now: {_first_line(fault)}. It is tried again.")
    return Retry(f"{where} cannot be reached. Start it, or check POSTGRES_HOST and POSTGRES_PORT.")


def _refusal(fault: Exception, where: str, settings: DatabaseSettings) -> str:
    user, database = settings.postgres_user, settings.postgres_db
    if isinstance(fault, asyncpg.InvalidCatalogNameError):
        return f"{where} has no database {database}. Check POSTGRES_DB."
    if isinstance(fault, asyncpg.InsufficientPrivilegeError):
        return (
            f"{where} does not let {user} do this in {database}: {_first_line(fault)}. "
            "Check POSTGRES_USER; the owner may do everything."
        )
    if isinstance(fault, asyncpg.InvalidAuthorizationSpecificationError | asyncpg.ProtocolViolationError):
        return f"{where} refuses the user {user}. Check POSTGRES_USER and POSTGRES_PASSWORD."
    return f"The database {database} of {where} is not up to date: {_first_line(fault)}. Run 'alpha db migrate'."


def _first_line(fault: Exception) -> str:
    return (str(fault).splitlines() or [type(fault).__name__])[0].rstrip(".")
