"""The database of studies: made on a PostgreSQL server by its owner, with a role that can reach nothing else."""

import os
import secrets

import psycopg
from psycopg import sql

from alpha.config.services import DatabaseSettings
from alpha.errors import Misconfigured, Retry
from research.studies import DATABASE, PASSWORD, ROLE


def prepare(settings: DatabaseSettings, password: str) -> str:
    """Make role and database, or set the role's password anew; the address for workers. Misconfigured for a weak password."""
    if len(password) < 12:
        raise Misconfigured(f"{PASSWORD} must have at least 12 characters; {new_password()} would do.")
    try:
        with psycopg.connect(
            host=settings.postgres_host,
            port=settings.postgres_port,
            dbname=settings.postgres_db,
            user=settings.postgres_user,
            password=settings.postgres_password.get_secret_value(),
            autocommit=True,
            connect_timeout=10,
        ) as connection:
            known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,)).fetchone()
            verb = sql.SQL("ALTER" if known else "CREATE")
            connection.execute(
                sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 64 PASSWORD {}").format(
                    verb, sql.Identifier(ROLE), sql.Literal(password)
                )
            )
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone():
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(DATABASE), sql.Identifier(ROLE))
                )
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(DATABASE)))
            connection.execute(
                sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(settings.postgres_db))
            )
    except psycopg.OperationalError as fault:
        raise Retry(f"PostgreSQL cannot be reached: {' '.join(str(fault).split())}.") from None
    except psycopg.Error as fault:
        raise Misconfigured(f"The database {DATABASE} could not be made: {' '.join(str(fault).split())}.") from None
    return f"postgresql://{ROLE}@{settings.postgres_host}:{settings.postgres_port}/{DATABASE}"


def password_of_environment() -> str:
    """The role's password. Misconfigured where it is not set."""
    found = os.environ.get(PASSWORD, "")
    if not found:
        raise Misconfigured(f"{PASSWORD} is not set: it is the password of the role {ROLE}.")
    return found


def new_password() -> str:
    """A password nobody can guess."""
    return secrets.token_urlsafe(24)
