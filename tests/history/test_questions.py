"""A PostgreSQL query ends within its timeout, whatever hangs."""

import asyncpg
import pytest

from alpha.config.services import DatabaseSettings
from alpha.errors import Fatal, Retry
from alpha.postgres.bounded_database import BoundedDatabase
from alpha.postgres.database import POSTGRES_ERRORS, Connection, explained, fetch_one
from tests.support.stalling import Stalling
from tests.support.world import until


async def test_who_asks_a_server_that_hangs_is_told_so_and_is_answered_when_it_flows(
    history_settings: DatabaseSettings,
) -> None:
    async with Stalling(history_settings.postgres_port) as way:
        settings = history_settings.model_copy(update={"postgres_host": "127.0.0.1", "postgres_port": way.port})
        questions = BoundedDatabase(settings, "tests", max_size=2, timeout_s=1.0)
        assert (await questions.fetch("SELECT 1 AS one"))[0]["one"] == 1
        way.stall()
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await questions.fetch("SELECT 1")
        way.flow()

        async def answered() -> bool:
            try:
                return bool(await questions.fetch("SELECT 1"))
            except POSTGRES_ERRORS:
                return False

        await until(answered, 30, "an answer")
        await questions.close()


async def test_a_statement_that_takes_too_long_is_let_go_of_and_the_next_is_answered(
    history_settings: DatabaseSettings,
) -> None:
    questions = BoundedDatabase(history_settings, "tests", max_size=1, timeout_s=1.0)
    with pytest.raises(TimeoutError):
        await questions.fetch("SELECT pg_sleep(100)")
    assert (await questions.fetch("SELECT 2 AS two"))[0]["two"] == 2
    with pytest.raises(asyncpg.UndefinedTableError):
        await questions.fetch("SELECT * FROM nothing_of_this_name")
    await questions.close()


def test_a_server_that_went_away_between_two_words_is_away_and_no_fault_of_ours(
    history_settings: DatabaseSettings,
) -> None:
    muddle = asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")
    assert isinstance(muddle, POSTGRES_ERRORS)
    assert isinstance(explained(muddle, history_settings), Retry)


async def test_a_row_that_must_be_there_and_is_not_is_an_error(owner: Connection) -> None:
    assert (await fetch_one(owner, "SELECT $1::int AS one", 1))["one"] == 1
    with pytest.raises(Fatal, match="no row where there is always one"):
        await fetch_one(owner, "SELECT 1 WHERE false")
