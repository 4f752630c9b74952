"""A service waits after startup for the schema it needs; essential services run with the previous release's schema."""

import asyncio
import shutil
from pathlib import Path

import pytest

from alpha.config.loader import load
from alpha.config.services import DatabaseSettings
from alpha.errors import Misconfigured
from alpha.postgres import schema
from alpha.postgres.database import Connection, connect
from alpha.postgres.migrate import MIGRATIONS, MigrateSettings, migrate, read_migrations, register_bots, run
from alpha.registry import Registry
from tests.history.test_migrations import empty

__all__ = ["empty"]


def as_environment(monkeypatch: pytest.MonkeyPatch, settings: DatabaseSettings, **instead: str) -> None:
    values = {
        "POSTGRES_HOST": settings.postgres_host, "POSTGRES_PORT": str(settings.postgres_port),
        "POSTGRES_DB": settings.postgres_db, "POSTGRES_USER": settings.postgres_user,
        "POSTGRES_PASSWORD": settings.postgres_password.get_secret_value(),
    }  # fmt: skip
    for name, value in {**values, **instead}.items():
        monkeypatch.setenv(name, value)


async def waiting(service: str, said: list[str], patience_s: float = 60.0) -> "asyncio.Task[None]":
    """Start waiting; returns the task once it has reported what it waits for."""
    heard = asyncio.Event()

    def say(sentence: str) -> None:
        said.append(sentence)
        heard.set()

    task = asyncio.create_task(schema.wait(service, say, patience_s=patience_s))
    async with asyncio.timeout(20):
        await asyncio.wait({task, asyncio.create_task(heard.wait())}, return_when=asyncio.FIRST_COMPLETED)
    return task


async def test_a_bot_waits_until_the_migrations_have_run_and_says_so(
    empty: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_environment(monkeypatch, empty)
    said: list[str] = []
    task = await waiting("shortseller", said)
    assert not task.done()
    newest = read_migrations()[-1].number
    assert f"The database has schema 0, shortseller needs {newest}" in said[0]
    connection = await connect(empty, "tests")
    await migrate(connection)
    await connection.close()
    async with asyncio.timeout(20):
        await task


async def test_who_must_run_does_so_with_the_schema_of_the_release_before(
    empty: DatabaseSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for migration in read_migrations():
        if migration.number <= schema.OLDEST_SCHEMA:
            shutil.copy(MIGRATIONS / migration.name, tmp_path)
    connection = await connect(empty, "tests")
    await migrate(connection, tmp_path)
    await connection.close()
    as_environment(monkeypatch, empty)
    for service in sorted(schema.MUST_RUN):
        async with asyncio.timeout(20):
            await schema.wait(service, pytest.fail)


async def test_who_must_run_does_so_without_postgresql_and_a_bot_does_not(
    empty: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_environment(monkeypatch, empty, POSTGRES_PORT="1")
    async with asyncio.timeout(20):
        await schema.wait("risk_guard", pytest.fail)
    said: list[str] = []
    task = await waiting("momentum", said)
    assert not task.done()
    assert "cannot be reached" in said[0]
    task.cancel()


async def test_a_role_that_does_not_exist_yet_is_waited_for(
    empty: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_environment(monkeypatch, empty, POSTGRES_PASSWORD="another")
    said: list[str] = []
    task = await waiting("risk_guard", said)
    assert not task.done()
    assert "'migrate' makes the roles" in said[0]
    task.cancel()
    async with asyncio.timeout(20):
        await schema.wait("risk_guard", said.append, patience_s=0.0)


def owner_settings(settings: DatabaseSettings, **values: object) -> MigrateSettings:
    kept = settings.model_dump()
    return load(MigrateSettings, env_file=None, **{**kept, **values})


async def test_the_demo_refuses_a_database_that_holds_other_accounts(
    owner: Connection, history_settings: DatabaseSettings, registry: Registry
) -> None:
    demo = owner_settings(history_settings, migrate_only_simulated=True)
    assert await run(demo) == []
    await register_bots(owner, registry)
    insert = "INSERT INTO trading.accounts (environment, user_id, bot_id) VALUES ($1, $2, $3)"
    await owner.execute(insert, "simulated", "1", registry.bots[0].id)
    assert await run(demo) == []
    await owner.execute(insert, "live", "2", registry.bots[0].id)
    with pytest.raises(Misconfigured, match=r"other accounts than simulated ones \(1 live\)"):
        await run(demo)
    assert await run(owner_settings(history_settings)) == []


async def test_a_changed_password_is_explained(history_settings: DatabaseSettings) -> None:
    with pytest.raises(Misconfigured, match=r"keeps the password .*'alpha password rotate'"):
        await run(owner_settings(history_settings, postgres_password="changed-in-env"))
