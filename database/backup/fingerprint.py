"""A database's fingerprint: the row count of every table and the sum of every numeric column."""

from alpha.postgres.database import Connection, fetch_one
from alpha.postgres.sql import queries

SQL = queries(__file__)

#: Table to column to figure; `rows` is the row count. Figures are strings, because sums are exact.
Fingerprint = dict[str, dict[str, str]]


async def fingerprint(connection: Connection, *, sums: bool = True) -> Fingerprint:
    """Count the rows of each of our tables; with `sums`, also sum its numeric columns. Reads each table once."""
    found: Fingerprint = {}
    for table in await connection.fetch(SQL["columns"]):
        columns = (table["columns"] or []) if sums else []
        parts = ["count(*)::text AS rows", *(f"trim_scale(sum({column}))::text AS {column}" for column in columns)]
        statement = f"SELECT {', '.join(parts)} FROM {table['name']}"  # noqa: S608 - names quoted by the server
        row = await fetch_one(connection, statement, timeout=3600)
        found[table["name"]] = {name: value for name, value in row.items() if value is not None}
    return found


def differences(expected: Fingerprint, found: Fingerprint) -> list[str]:
    """One sentence per table and figure that is not as expected."""
    sentences = []
    for table in sorted(set(expected) | set(found)):
        mine, theirs = expected.get(table, {}), found.get(table, {})
        for column in sorted(set(mine) | set(theirs)):
            if column in mine and mine[column] != theirs.get(column):
                sentences.append(f"{table}: {column} is {theirs.get(column, 'absent')}, not {mine[column]}")
    return sentences
