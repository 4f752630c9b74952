"""Builds an index of a migration without keeping writers out: `CREATE INDEX CONCURRENTLY`, which no transaction may contain.

A migration whose first line is `-- concurrently` holds one statement,

    -- concurrently
    CREATE INDEX CONCURRENTLY IF NOT EXISTS name ON schema.table (...);

and is run outside a transaction. A crash in the middle leaves an index that is not valid: the next run drops it and builds it
again. On a partitioned table, where PostgreSQL has no such statement, each partition's index is built this way and joined to the
table's.
"""

import re
from dataclasses import dataclass
from functools import partial

from alpha.errors import Misconfigured
from alpha.postgres.database import Connection
from alpha.postgres.short_lock import briefly
from alpha.postgres.sql import queries

SQL = queries(__file__)

MARK = "-- concurrently\n"
_STATEMENT = re.compile(
    r"CREATE (?P<unique>UNIQUE )?INDEX CONCURRENTLY IF NOT EXISTS (?P<name>[a-z_0-9]+) ON (?P<schema>[a-z_]+)\.(?P<table>[a-z_0-9]+)"
    r"(?P<rest>\s.+);",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Index:
    """The index of such a migration."""

    name: str
    schema: str
    table: str
    unique: bool
    rest: str

    def statement(self, name: str, table: str, *, how: str = "CONCURRENTLY IF NOT EXISTS", only: bool = False) -> str:
        """CREATE INDEX with this name on this table."""
        unique, alone = ("UNIQUE " if self.unique else ""), ("ONLY " if only else "")
        return f"CREATE {unique}INDEX {how} {name} ON {alone}{self.schema}.{table}{self.rest}"


def index_of(file: str, sql: str) -> Index | None:
    """The index of a migration that begins with the mark; None for every other one. Misconfigured when it is no such statement."""
    if not sql.startswith(MARK):
        return None
    body = "\n".join(line for line in sql.splitlines() if not line.startswith("--")).strip()
    match = _STATEMENT.fullmatch(body)
    if match is None or ";" in match["rest"]:
        raise Misconfigured(
            f"{file} begins with '{MARK.strip()}', so it must be one statement: "
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS name ON schema.table (...);"
        )
    return Index(match["name"], match["schema"], match["table"], match["unique"] is not None, match["rest"])


async def build(connection: Connection, index: Index) -> None:
    """Build it, whatever an earlier run has left. Outside a transaction; raises asyncpg's errors."""
    full = f"{index.schema}.{index.table}"
    if not await connection.fetchval(SQL["is_partitioned"], full):
        await _drop_invalid(connection, index.schema, index.name)
        await connection.execute(index.statement(index.name, index.table), timeout=None)
        return
    # invalid until every partition's index has joined it
    whole = index.statement(index.name, index.table, how="IF NOT EXISTS", only=True)
    await briefly(connection, full, lambda: connection.execute(whole))
    rows = await connection.fetch(
        SQL["partitions"],
        full,
    )
    for row in rows:
        name = f"{row['name']}_{index.name}"
        await _drop_invalid(connection, index.schema, name)
        await connection.execute(index.statement(name, row["name"]), timeout=None)
        attach = f"ALTER INDEX {index.schema}.{index.name} ATTACH PARTITION {index.schema}.{name}"
        await briefly(connection, full, partial(connection.execute, attach))


async def _drop_invalid(connection: Connection, schema: str, name: str) -> None:
    left = await connection.fetchval(SQL["is_invalid"], f"{schema}.{name}")
    if left:
        await connection.execute(f"DROP INDEX CONCURRENTLY {schema}.{name}", timeout=None)
