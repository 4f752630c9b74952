"""The database of studies: made on a PostgreSQL server by its owner, with a role that can reach nothing else.

A second role, for the dashboard, can only read there.
"""

import os
import secrets

import psycopg
from psycopg import sql

from alpha.config.services import DatabaseSettings
from alpha.errors import Misconfigured, Retry
from research.studies import DATABASE, PASSWORD, ROLE

READER = "optuna_reader"
READER_PASSWORD = "DASHBOARD_STUDIES_PASSWORD"  # noqa: S105 - the name of the variable


def prepare(settings: DatabaseSettings, password: str, reader_password: str = "") -> str:
    """Make role and database, or set the role's password anew; the address for workers. Misconfigured for a weak password.

    With `reader_password` also the role that reads the studies for the dashboard.
    """
    for name, each in ((PASSWORD, password), (READER_PASSWORD, reader_password)):
        if len(each) < 12 and (each or name == PASSWORD):
            raise Misconfigured(f"{name} must have at least 12 characters; {new_password()} would do.")
    try:
        with _connect(settings, settings.postgres_db) as connection:
            _make_role(connection, ROLE, password, 64)
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone():
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(DATABASE), sql.Identifier(ROLE))
                )
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(DATABASE)))
            connection.execute(
                sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(settings.postgres_db))
            )
            # Optuna keeps heartbeats without a time zone
            connection.execute(sql.SQL("ALTER DATABASE {} SET timezone = 'UTC'").format(sql.Identifier(DATABASE)))
            if reader_password:
                _make_role(connection, READER, reader_password, 4)
                connection.execute(
                    sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(sql.Identifier(READER))
                )
                connection.execute(
                    sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
                        sql.Identifier(DATABASE), sql.Identifier(READER)
                    )
                )
        if reader_password:
            _let_read(settings)
    except psycopg.OperationalError as fault:
        raise Retry(f"PostgreSQL cannot be reached: {' '.join(str(fault).split())}.") from None
    except psycopg.Error as fault:
        raise Misconfigured(f"The database {DATABASE} could not be made: {' '.join(str(fault).split())}.") from None
    return f"postgresql://{ROLE}@{settings.postgres_host}:{settings.postgres_port}/{DATABASE}"


def _connect(settings: DatabaseSettings, database: str) -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(
        host=settings.postgres_host,
        port=settings.postgres_port,
        dbname=database,
        user=settings.postgres_user,
        password=settings.postgres_password.get_secret_value(),
        autocommit=True,
        connect_timeout=10,
    )


def _make_role(
    connection: "psycopg.Connection[tuple[object, ...]]", role: str, password: str, connections: int
) -> None:
    known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
    connection.execute(
        sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT {} PASSWORD {}").format(
            sql.SQL("ALTER" if known else "CREATE"),
            sql.Identifier(role),
            sql.Literal(connections),
            sql.Literal(password),
        )
    )


def _let_read(settings: DatabaseSettings) -> None:
    """Let the reader read what there is and what the workers' role will make."""
    names = {"owner": sql.Identifier(ROLE), "reader": sql.Identifier(READER)}
    with _connect(settings, DATABASE) as connection:
        connection.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}").format(**names))
        connection.execute(
            sql.SQL(
                "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT SELECT ON TABLES TO {reader}"
            ).format(**names)
        )


def password_of_environment() -> str:
    """The role's password. Misconfigured where it is not set."""
    found = os.environ.get(PASSWORD, "")
    if not found:
        raise Misconfigured(f"{PASSWORD} is not set: it is the password of the role {ROLE}.")
    return found


def new_password() -> str:
    """A password nobody can guess."""
    return secrets.token_urlsafe(24)
