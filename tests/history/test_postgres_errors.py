"""Every PostgreSQL error is classified, known or not, and `explained` returns only one sentence."""

import asyncpg
import pytest

from alpha.config.loader import load
from alpha.config.services import DatabaseSettings
from alpha.errors import AlphaError, Misconfigured, Rejected, Retry
from alpha.postgres.errors import POSTGRES_ERRORS, FaultClass, explained, fault_class, passes

SETTINGS = load(DatabaseSettings, env_file=None, postgres_host="db", postgres_password="secret")


def every_error() -> list[type[asyncpg.PostgresError]]:
    """All error classes of the driver."""
    found = vars(asyncpg.exceptions).values()
    return [one for one in found if isinstance(one, type) and issubclass(one, asyncpg.PostgresError)]


def test_every_error_becomes_a_sentence_of_its_class() -> None:
    kinds = {FaultClass.PASSING: Retry, FaultClass.OURS: Rejected, FaultClass.REFUSED: Misconfigured}
    assert len(every_error()) > 200
    for error in every_error():
        fault = error("could not do it")
        found = explained(fault, SETTINGS)
        assert type(found) is kinds[fault_class(fault)], error
        assert "PostgreSQL at db:6432" in str(found)


@pytest.mark.parametrize(
    "error",
    [
        *(asyncpg.DiskFullError, asyncpg.OutOfMemoryError, asyncpg.TooManyConnectionsError),
        *(asyncpg.AdminShutdownError, asyncpg.CrashShutdownError, asyncpg.CannotConnectNowError),
        *(
            asyncpg.ReadOnlySQLTransactionError,
            asyncpg.QueryCanceledError,
            asyncpg.IdleInTransactionSessionTimeoutError,
        ),
        *(asyncpg.PostgresIOError, asyncpg.DataCorruptedError, asyncpg.InternalServerError, asyncpg.ConfigFileError),
        *(asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.LockNotAvailableError),
        *(asyncpg.InvalidCachedStatementError, asyncpg.InvalidSQLStatementNameError, asyncpg.SnapshotTooOldError),
        *(asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError, ConnectionResetError),
    ],
)
def test_what_passes_is_tried_again(error: type[Exception]) -> None:
    fault = error("could not do it")
    assert isinstance(fault, POSTGRES_ERRORS)
    assert passes(fault)
    assert isinstance(explained(fault, SETTINGS), Retry)


@pytest.mark.parametrize(
    "error",
    [
        *(asyncpg.UniqueViolationError, asyncpg.ForeignKeyViolationError, asyncpg.CheckViolationError),
        *(asyncpg.NumericValueOutOfRangeError, asyncpg.PostgresSyntaxError, asyncpg.RaiseError, asyncpg.DataError),
    ],
)
def test_a_statement_that_can_never_succeed_holds_up_no_other(error: type[Exception]) -> None:
    assert not passes(error("could not do it"))
    assert isinstance(explained(error("could not do it"), SETTINGS), Rejected)


def test_an_error_that_nobody_knows_passes_and_one_of_our_own_codes_does_not() -> None:
    for state, kind in (("ZZ999", FaultClass.PASSING), ("", FaultClass.PASSING), ("AL003", FaultClass.OURS)):
        fault = asyncpg.PostgresError.new({"C": state, "M": "strange"})
        assert fault_class(fault) is kind


def test_a_server_that_has_served_and_refuses_now_is_tried_again() -> None:
    for error in (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidPasswordError, asyncpg.UndefinedTableError):
        first, later = explained(error("no"), SETTINGS), explained(error("no"), SETTINGS, served=True)
        assert (type(first), type(later)) == (Misconfigured, Retry)
        assert isinstance(later, AlphaError)
        assert str(first) in str(later)
