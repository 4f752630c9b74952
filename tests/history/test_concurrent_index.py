"""A migration may build an index without keeping writers out, through a crash, on both forms of a table."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from alpha.config.services import DatabaseSettings
from alpha.errors import AlphaError, Misconfigured
from alpha.postgres.database import Connection, connect
from alpha.postgres.migrate import migrate

TABLE = "CREATE TABLE public.notes (id int PRIMARY KEY, word text)"
SPLIT = (
    "CREATE TABLE public.notes (id int PRIMARY KEY, word text) PARTITION BY HASH (id); "
    "CREATE TABLE public.notes_p0 PARTITION OF public.notes FOR VALUES WITH (MODULUS 2, REMAINDER 0); "
    "CREATE TABLE public.notes_p1 PARTITION OF public.notes FOR VALUES WITH (MODULUS 2, REMAINDER 1)"
)
INDEX = "-- concurrently\n-- Words are looked up.\nCREATE {}INDEX CONCURRENTLY IF NOT EXISTS notes_by_word ON public.notes (word);\n"
_VALID = "SELECT bool_and(indisvalid) FROM pg_index WHERE indexrelid::regclass::text LIKE '%notes_by_word'"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for migrations."""
    path = tmp_path / "migrations"
    path.mkdir()
    return path


@pytest.fixture
async def empty(owner: Connection, history_settings: DatabaseSettings) -> DatabaseSettings:
    """A database without migrations."""
    await owner.execute("DROP TABLE public.schema_migrations")
    return history_settings


@pytest.mark.parametrize("table", [TABLE, SPLIT], ids=["plain", "split"])
async def test_it_is_built_while_others_write_and_entered_once(
    empty: DatabaseSettings, owner: Connection, folder: Path, table: str
) -> None:
    (folder / "0001_notes.sql").write_text(table)
    (folder / "0002_notes_by_word.sql").write_text(INDEX.format(""))
    assert await migrate(owner, folder) == ["0001_notes.sql", "0002_notes_by_word.sql"]
    assert await owner.fetchval(_VALID)
    assert await migrate(owner, folder) == []
    await owner.execute("DROP TABLE public.notes; DELETE FROM public.schema_migrations")
    # four at once: those that wait for their turn keep no snapshot that the building would wait for
    others = [await connect(empty, "tests") for _ in range(4)]
    async with asyncio.timeout(30):
        results = await asyncio.gather(*(migrate(one, folder) for one in others))
    assert sorted(map(len, results)) == [0, 0, 0, 2]
    for one in others:
        await one.close()


@pytest.mark.parametrize("table", [TABLE, SPLIT], ids=["plain", "split"])
async def test_what_a_crash_leaves_is_built_again(
    empty: DatabaseSettings, owner: Connection, folder: Path, table: str
) -> None:
    (folder / "0001_notes.sql").write_text(table)
    await migrate(owner, folder)
    (folder / "0002_notes_by_word.sql").write_text(INDEX.format(""))
    # somebody's open transaction: the building waits for it, and is killed there
    other = await connect(empty, "tests")
    transaction = other.transaction()
    await transaction.start()
    await other.execute("INSERT INTO public.notes VALUES (1, 'one'), (2, 'two')")
    victim = await connect(empty, "victim")
    number = victim.get_server_pid()
    building = asyncio.create_task(migrate(victim, folder))
    while not await owner.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'", number
    ):
        await asyncio.sleep(0.02)
    await owner.execute("SELECT pg_terminate_backend($1)", number)
    with pytest.raises((AlphaError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await building
    await transaction.rollback()
    await other.close()
    assert await owner.fetchval(_VALID) is not True
    assert await migrate(owner, folder) == ["0002_notes_by_word.sql"]
    assert await owner.fetchval(_VALID) is True
    await owner.execute("INSERT INTO public.notes VALUES (1, 'one'), (2, 'two')")


@pytest.mark.parametrize(
    "sql",
    [
        "-- concurrently\nCREATE INDEX notes_by_word ON public.notes (word);",
        f"{INDEX.format('')}DROP TABLE public.notes;",
        "-- concurrently\nUPDATE public.notes SET word = '';",
    ],
)
async def test_anything_else_under_the_mark_is_refused_before_anything_is_applied(
    empty: DatabaseSettings, owner: Connection, folder: Path, sql: str
) -> None:
    (folder / "0001_notes.sql").write_text(TABLE)
    (folder / "0002_notes_by_word.sql").write_text(sql)
    with pytest.raises(
        Misconfigured, match=r"0002_notes_by_word\.sql begins with '-- concurrently', so it must be one statement"
    ):
        await migrate(owner, folder)
    assert await owner.fetchval("SELECT to_regclass('public.notes')") is None
