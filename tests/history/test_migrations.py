"""Migrations run once, in order, atomically; repeated and concurrent runs are safe."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from alpha.config.services import DatabaseSettings
from alpha.errors import Fatal, Misconfigured
from alpha.postgres.database import Connection, connect
from alpha.postgres.fills import Fill
from alpha.postgres.ledger import verify
from alpha.postgres.migrate import MIGRATIONS, migrate, newer_than, read_migrations, register_bots
from alpha.registry import Registry
from demo.postgres import EmbeddedPostgres
from tests.history.build import fill
from tests.history.compare import expected, stored
from tests.history.conftest import of
from tests.history.reference import books
from tests.support.fill_generator import some_fills


@pytest.fixture
async def empty(postgres_server: EmbeddedPostgres) -> DatabaseSettings:
    """An empty database."""
    server = await connect(postgres_server.settings(), "tests")
    await server.execute("DROP DATABASE IF EXISTS empty_one WITH (FORCE)")
    await server.execute("CREATE DATABASE empty_one")
    await server.close()
    return of(postgres_server.settings(), "empty_one")


def folder_of(path: Path, **files: str) -> Path:
    """A folder with these migrations."""
    path.mkdir(exist_ok=True)
    for name, sql in files.items():
        (path / f"{name.removeprefix('m')}.sql").write_text(sql)
    return path


async def test_two_at_once_apply_each_file_once(empty: DatabaseSettings) -> None:
    async def one() -> list[str]:
        connection = await connect(empty, "tests")
        applied = await migrate(connection)
        await connection.close()
        return applied

    results = await asyncio.gather(*(one() for _ in range(4)))
    assert sorted(map(len, results)) == [0, 0, 0, len(read_migrations())]


async def test_a_second_run_changes_nothing(owner: Connection) -> None:
    assert await migrate(owner) == []


async def test_a_changed_file_is_refused_with_its_name(empty: DatabaseSettings, tmp_path: Path) -> None:
    connection = await connect(empty, "tests")
    folder = folder_of(tmp_path / "m", m0001_one="CREATE TABLE a (b int)", m0002_two="CREATE TABLE c (d int)")
    assert await migrate(connection, folder) == ["0001_one.sql", "0002_two.sql"]
    folder_of(folder, m0001_one="CREATE TABLE a (b text)")
    with pytest.raises(Misconfigured, match=r"0001_one\.sql was changed"):
        await migrate(connection, folder)
    (folder / "0001_one.sql").unlink()
    with pytest.raises(Misconfigured, match=r"0001_one\.sql was applied but its file is missing"):
        await migrate(connection, folder)
    await connection.close()


async def test_after_a_step_back_older_code_leaves_a_newer_schema_as_it_is(
    empty: DatabaseSettings, tmp_path: Path
) -> None:
    connection = await connect(empty, "tests")
    older = folder_of(tmp_path / "older", m0001_one="CREATE TABLE a (b int)")
    newer = folder_of(tmp_path / "newer", m0001_one="CREATE TABLE a (b int)", m0002_two="CREATE TABLE c (d int)")
    await migrate(connection, newer)
    assert await newer_than(connection, newer) is None
    assert await migrate(connection, older) == []
    assert await newer_than(connection, older) == "0002_two.sql"
    assert await migrate(connection, newer) == []
    await connection.close()


async def test_a_file_that_fails_leaves_nothing_behind_and_the_earlier_ones_applied(
    empty: DatabaseSettings, tmp_path: Path
) -> None:
    connection = await connect(empty, "tests")
    folder = folder_of(
        tmp_path / "m", m0001_one="CREATE TABLE a (b int)", m0002_two="CREATE TABLE c (d int); SELECT 1/0"
    )
    with pytest.raises(Fatal, match=r"0002_two\.sql failed and was undone: division by zero"):
        await migrate(connection, folder)
    assert await connection.fetchval("SELECT to_regclass('a') IS NOT NULL AND to_regclass('c') IS NULL")
    folder_of(folder, m0002_two="CREATE TABLE c (d int)")
    assert await migrate(connection, folder) == ["0002_two.sql"]
    await connection.close()


def test_a_strange_name_and_a_double_number_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="is not named like a migration"):
        read_migrations(folder_of(tmp_path / "a", mfirst="SELECT 1"))
    with pytest.raises(Misconfigured, match="have the same number"):
        read_migrations(folder_of(tmp_path / "b", m0001_a="SELECT 1", m0001_b="SELECT 1"))


async def test_a_database_of_the_release_before_is_recomputed(
    empty: DatabaseSettings, tmp_path: Path, registry: Registry
) -> None:
    connection = await connect(empty, "tests")
    older = tmp_path / "older"
    older.mkdir()
    for path in sorted(MIGRATIONS.glob("*.sql"))[:14]:
        (older / path.name).write_bytes(path.read_bytes())
    await migrate(connection, older)
    await register_bots(connection, registry)
    account = await connection.fetchval("SELECT trading.register_account('simulated', '1', 'shortseller_001')")
    one_match = [
        fill(0, "Buy", "1", "100", account_id=account, closed="0", symbol="ETHUSDT"),
        fill(1, "Sell", "1", "99", account_id=account, closed="1", symbol="ETHUSDT", exec_id="b"),
        fill(1, "Sell", "1", "98", account_id=account, closed="0", symbol="ETHUSDT", exec_id="a"),
    ]
    rows = some_fills(3, 500, account)
    columns = Fill.__struct_fields__[:-1]  # before the `leg` column existed
    await connection.executemany(
        f"INSERT INTO trading.fills ({', '.join(columns)}) VALUES ({', '.join(f'${n + 1}' for n in range(len(columns)))})",
        [tuple(getattr(row, name) for name in columns) for row in one_match + rows],
    )
    await connection.execute(
        "INSERT INTO trading.opening_positions (account_id, category, symbol, side, qty, entry_price, as_of) "
        "VALUES ($1, 'linear', 'SOLUSDT', 'Buy', 3, 7, '2025-01-01')",
        account,
    )
    before = await stored(connection, account, "ETHUSDT")
    assert (await migrate(connection))[:2] == ["0015_fill_units_and_legs.sql", "0016_recompute_in_steps.sql"]
    for symbol, fills in (("ETHUSDT", one_match), ("BTCUSDT", rows)):
        assert await stored(connection, account, symbol) == expected(books(fills))
    assert await stored(connection, account, "ETHUSDT") != before
    assert await connection.fetchval("SELECT entry_value FROM trading.open_positions WHERE symbol = 'SOLUSDT'") == 21
    assert await connection.fetchval("SELECT trading.settle()") == 0  # as called by the listener of that release
    assert (await verify(empty, lambda fills: None)).differences == []
    await connection.close()


async def test_every_relation_and_every_column_with_a_unit_or_a_rule_explains_itself(owner: Connection) -> None:
    # Money, flags, fractions and documents need a sentence; "The account." for account_id would only repeat the name.
    silent = await owner.fetch(
        "SELECT c.oid::regclass::text AS relation, a.attname::text AS column FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname IN ('trading', 'audit') "
        "LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'v') "
        "LEFT JOIN pg_index i ON i.indexrelid = c.oid "
        "WHERE (c.relkind IN ('r', 'v') OR (c.relkind = 'i' AND NOT i.indisunique)) "
        "AND (obj_description(c.oid, 'pg_class') IS NULL OR (a.attnum IS NOT NULL AND col_description(c.oid, a.attnum) IS NULL "
        "AND a.atttypid IN ('numeric'::regtype, 'boolean'::regtype, 'jsonb'::regtype, 'real'::regtype, 'float8'::regtype)))"
    )
    assert [tuple(row) for row in silent] == []


async def test_bots_follow_the_registry_and_keep_their_wishes(owner: Connection, registry: Registry) -> None:
    await owner.execute("UPDATE trading.bots SET wish = 'stopped' WHERE bot_id = 'lxalgo_001'")
    await register_bots(owner, Registry(registry.bots[1:]))
    rows = {row["bot_id"]: (row["active"], row["wish"]) for row in await owner.fetch("SELECT * FROM trading.bots")}
    assert rows == {
        "shortseller_001": (False, "running"),
        "lxalgo_001": (True, "stopped"),
        "momentum_001": (True, "running"),
    }


def test_the_command_ends_with_one_sentence_when_the_database_cannot_be_reached() -> None:
    environment = {**os.environ, "POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": "1", "POSTGRES_PASSWORD": "x"}
    result = subprocess.run(
        [sys.executable, "-m", "alpha.postgres.migrate"],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        cwd=MIGRATIONS.parents[1],
    )
    assert result.returncode == 1
    assert result.stderr == (
        "PostgreSQL at 127.0.0.1:1 cannot be reached. Start it, or check POSTGRES_HOST and POSTGRES_PORT.\n"
    )


async def test_a_wrong_password_and_a_missing_database_name_the_setting(postgres_server: EmbeddedPostgres) -> None:
    from pydantic import SecretStr

    right = postgres_server.settings()
    with pytest.raises(Misconfigured, match="POSTGRES_PASSWORD"):
        await connect(right.model_copy(update={"postgres_password": SecretStr("wrong")}), "tests")
    with pytest.raises(Misconfigured, match="POSTGRES_DB"):
        await connect(of(right, "nowhere"), "tests")
