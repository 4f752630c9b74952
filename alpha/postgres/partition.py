# ruff: noqa: S608 - every name in a statement is of this file or quoted by the server
"""Converts `trading.fills` to partitions by a hash of the account, in steps, while the listener goes on writing.

    result = await partition(settings, 16, progress)     # the owner, straight to PostgreSQL

1. A partitioned copy is made and from then on every write to `trading.fills` is mirrored to it, in the same transaction.
2. What was there before is copied by ranges of blocks, a transaction each; the next block is kept, so that a run that was
   killed is continued by the next one. A row that the mirror has brought already stays as it is.
3. Both are compared row for row in one snapshot.
4. They change names within one short transaction. The former table is dropped last.

The lock that keeps writers out is asked for with a timeout of half a second, again and again, so that nobody waits behind it.
Why by account and why by hash: docs/decisions.md.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

from alpha.config.services import DatabaseSettings
from alpha.errors import Fatal, Misconfigured
from alpha.postgres.database import POSTGRES_ERRORS, Connection, connect, explained, fetch_one
from alpha.postgres.short_lock import PAUSE_S, briefly
from alpha.postgres.sql import queries

SQL = queries(__file__)

#: Pages of 8 KiB per step: some 7,000 fills, about 0.1 s.
STEP_BLOCKS = 256
FEWEST, MOST = 2, 128
_RUN_LOCK = 4_157_250_002
_KEY = "account_id, category, symbol, exec_id"
_SCHEMA = "trading"
_TABLE = "trading.fills"
#: The copy until the names are changed, and the former table afterwards.
COPY, FORMER, STATE = "fills_partitioned", "fills_unpartitioned", "fills_conversion"

#: Called after every step with the share of the copy that is done, 0 to 1.
Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Layout:
    """How the table is split: `PARTITION BY` what, and the bounds of each partition."""

    by: str
    bounds: tuple[str, ...]
    key: str = _KEY


def by_hash(number: int) -> Layout:
    """Accounts are spread over `number` partitions by a hash of their number."""
    bounds = tuple(f"FOR VALUES WITH (MODULUS {number}, REMAINDER {remainder})" for remainder in range(number))
    return Layout("HASH (account_id)", bounds)


@dataclass(frozen=True, slots=True)
class Result:
    """What a run did: `partitions` there are now, `rows` compared (0 where it was converted before)."""

    partitions: int
    rows: int = 0


async def partition(
    settings: DatabaseSettings, number: int, progress: Progress, *, step_blocks: int = STEP_BLOCKS
) -> Result:
    """Convert, or continue a conversion that was interrupted; a converted table is left as it is.

    Raises Misconfigured for a number out of range or a second run, Retry when the lock cannot be had, Fatal when the copy is not
    equal. Whatever it raises, `trading.fills` is whole and the next run continues.
    """
    if not FEWEST <= number <= MOST:
        raise Misconfigured(f"The number of partitions must be between {FEWEST} and {MOST}, got {number}.")
    connection = await connect(settings, "partition")
    try:
        await only_one(connection)
        rows = 0
        if not await _is_partitioned(connection):
            if not await _begun(connection):
                await briefly(connection, _TABLE, lambda: begin(connection, by_hash(number)))
            await _copy(connection, progress, step_blocks)
            rows = await _compare(connection)
            await briefly(connection, _TABLE, lambda: change_names(connection))
        await _finish(connection)
        return Result(await _count(connection), rows)
    except POSTGRES_ERRORS as fault:
        raise explained(fault, settings) from None
    finally:
        await connection.close()


async def only_one(connection: Connection) -> None:
    """One conversion or archiving at a time; Misconfigured when another one runs. Ends with the connection."""
    if not await connection.fetchval(SQL["lock"], _RUN_LOCK):
        raise Misconfigured(
            "Another 'alpha db partition' or 'alpha db archive' runs on this database. Wait until it ends."
        )


async def _is_partitioned(connection: Connection) -> bool:
    return bool(await connection.fetchval(SQL["is_partitioned"]))


async def _begun(connection: Connection) -> bool:
    return bool(await connection.fetchval(f"SELECT to_regclass('{_SCHEMA}.{STATE}') IS NOT NULL"))


async def _count(connection: Connection) -> int:
    number: int = await connection.fetchval(SQL["count_partitions"])
    return number


async def begin(connection: Connection, layout: Layout) -> None:
    """The empty copy, the mirror and the row that says how far the copying is."""
    references = await connection.fetchval(SQL["references"])
    if references:
        raise Misconfigured(f"A foreign key joins trading.fills and {references}; drop it before the conversion.")
    columns: list[str] = await connection.fetchval(SQL["columns"])
    copy = f"{_SCHEMA}.{COPY}"
    await connection.execute("LOCK TABLE trading.fills IN SHARE ROW EXCLUSIVE MODE")
    await connection.execute(
        f"CREATE TABLE {copy} (LIKE trading.fills INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING COMMENTS INCLUDING STORAGE) "
        f"PARTITION BY {layout.by}"
    )
    for number, bound in enumerate(layout.bounds):
        await connection.execute(f"CREATE TABLE {_SCHEMA}.fills_p{number} PARTITION OF {copy} {bound}")
    await connection.execute(f"ALTER TABLE {copy} ADD CONSTRAINT {COPY}_pkey PRIMARY KEY ({layout.key})")
    for index in await connection.fetch(SQL["indexes"]):
        name = f"{COPY}_{index['name']}"
        made = index["made"].replace(f" INDEX {index['name']} ON trading.fills ", f" INDEX {name} ON {copy} ")
        if name not in made:
            raise Fatal(f"The index {index['name']} of trading.fills cannot be made anew: {index['made']}.")
        await connection.execute(made)
        if index["said"] is not None:
            await connection.execute(f"COMMENT ON INDEX {_SCHEMA}.{name} IS {_quoted(index['said'])}")
    said = await connection.fetchval(SQL["comment"])
    await connection.execute(f"COMMENT ON TABLE {copy} IS {_quoted(said or '')}")
    for grant in await connection.fetch(SQL["grants"], COPY):
        await connection.execute(grant["made"])
    await connection.execute(_mirror(columns, layout.key))
    await connection.execute(
        f"CREATE TABLE {_SCHEMA}.{STATE} AS SELECT 0::bigint AS next_block, "
        "pg_relation_size('trading.fills') / current_setting('block_size')::bigint AS blocks, "
        "pg_relation_filenode('trading.fills') AS filenode, 'copying'::text AS phase"
    )
    await connection.execute(
        f"REVOKE ALL ON {_SCHEMA}.{STATE} FROM alpha_readonly, alpha_listener, alpha_sync, alpha_guard, alpha_c2, alpha_strategy"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _mirror(columns: list[str], keyed: str) -> str:
    """Triggers that write to the copy what is written to the table."""
    names = ", ".join(columns)
    key = [name.strip() for name in keyed.split(",")]
    others = [name for name in columns if name not in key]
    same = " AND ".join(f"c.{name} = o.{name}" for name in key)
    changed = f"({', '.join(others)}) = ({', '.join(f'excluded.{name}' for name in others)})"
    return f"""
CREATE FUNCTION trading.mirror_fills() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM trading.{COPY} c USING changed o WHERE {same};
    ELSE
        INSERT INTO trading.{COPY} ({names}) SELECT {names} FROM changed ORDER BY {keyed}
        ON CONFLICT ({keyed}) DO UPDATE SET {changed};
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER mirror_inserted AFTER INSERT ON trading.fills
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION trading.mirror_fills();
CREATE TRIGGER mirror_updated AFTER UPDATE ON trading.fills
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION trading.mirror_fills();
CREATE TRIGGER mirror_deleted AFTER DELETE ON trading.fills
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION trading.mirror_fills();
"""


async def _copy(connection: Connection, progress: Progress, step_blocks: int) -> None:
    """Copy the blocks that are not copied yet, each range in a transaction of its own with its mark."""
    names = ", ".join(await connection.fetchval(SQL["columns"]))
    while True:
        state = await fetch_one(
            connection, f"SELECT *, filenode = pg_relation_filenode('trading.fills') AS same FROM {_SCHEMA}.{STATE}"
        )
        first, blocks = state["next_block"], state["blocks"]
        if not state["same"]:
            # VACUUM FULL or CLUSTER has moved the rows: from the start, nothing is copied twice
            await connection.execute(
                f"UPDATE {_SCHEMA}.{STATE} SET next_block = 0, filenode = pg_relation_filenode('trading.fills'), "
                "blocks = pg_relation_size('trading.fills') / current_setting('block_size')::bigint"
            )
            continue
        progress(first / blocks if blocks else 1.0)
        if first >= blocks:
            return
        after = min(blocks, first + step_blocks)
        try:
            async with connection.transaction():
                await connection.execute(
                    f"INSERT INTO {_SCHEMA}.{COPY} ({names}) SELECT {names} FROM trading.fills "
                    f"WHERE ctid >= '({first},0)' AND ctid < '({after},0)' ON CONFLICT ({_KEY}) DO NOTHING",
                    timeout=600,
                )
                await connection.execute(f"UPDATE {_SCHEMA}.{STATE} SET next_block = $1", after)
        except asyncpg.DeadlockDetectedError:
            await asyncio.sleep(PAUSE_S)  # a writer completed fills of this very range


_SUMS = "SELECT count(*) AS rows, coalesce(sum(hashtextextended(ROW({names})::text, 0)::numeric), 0) AS sum FROM trading.{table}"


async def _compare(connection: Connection) -> int:
    """How many rows both have; Fatal when they differ. One snapshot, so that writers do not matter."""
    names = ", ".join(await connection.fetchval(SQL["columns"]))
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        ours, copy = [
            await fetch_one(connection, _SUMS.format(names=names, table=table), timeout=None)
            for table in ("fills", COPY)
        ]
    if ours != copy:
        await connection.execute(f"UPDATE {_SCHEMA}.{STATE} SET next_block = 0")
        raise Fatal(
            f"The copy is not equal to trading.fills ({copy['rows']:,} rows, {ours['rows']:,} expected). Nothing was changed. "
            "Run the command again: it copies what is missing; if it says this again, report it."
        )
    return int(ours["rows"])


async def change_names(connection: Connection) -> None:
    """The copy becomes `trading.fills`, with its triggers; views are pointed at it."""
    await connection.execute("LOCK TABLE trading.fills IN ACCESS EXCLUSIVE MODE")
    triggers = await connection.fetch(SQL["triggers"])
    views = await connection.fetch(SQL["views"])
    indexes = [row["name"] for row in await connection.fetch(SQL["indexes"])]
    statements = [
        *(f"DROP TRIGGER {name} ON trading.fills" for name in ("mirror_inserted", "mirror_updated", "mirror_deleted")),
        "DROP FUNCTION trading.mirror_fills()",
        *(f"DROP TRIGGER {row['name']} ON trading.fills" for row in triggers),
        f"ALTER TABLE trading.fills RENAME TO {FORMER}",
        f"ALTER TABLE trading.{FORMER} RENAME CONSTRAINT fills_pkey TO {FORMER}_pkey",
        *(f"ALTER INDEX trading.{name} RENAME TO {FORMER}_{name}" for name in indexes),
        f"ALTER TABLE trading.{COPY} RENAME TO fills",
        f"ALTER TABLE trading.fills RENAME CONSTRAINT {COPY}_pkey TO fills_pkey",
        *(f"ALTER INDEX trading.{COPY}_{name} RENAME TO {name}" for name in indexes),
        *(row["made"] for row in triggers),
        *(f"CREATE OR REPLACE VIEW {row['name']} AS {row['made']}" for row in views),
        f"UPDATE {_SCHEMA}.{STATE} SET phase = 'swapped'",
    ]
    for statement in statements:
        await connection.execute(statement)


async def _finish(connection: Connection) -> None:
    """Drop the former table, now that the new one has everything. Safe to repeat."""
    if not await _begun(connection):
        return
    await connection.execute("ANALYZE trading.fills", timeout=None)

    async def drop() -> None:
        await connection.execute(f"DROP TABLE IF EXISTS trading.{FORMER}; DROP TABLE {_SCHEMA}.{STATE}")

    await briefly(connection, _TABLE, drop)
