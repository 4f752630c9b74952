"""The reference of tables and roles, from a migrated database: `python -m tests.docs.schema_reference`."""

import asyncio
import tempfile
from pathlib import Path

from alpha.config.services import DatabaseSettings
from alpha.postgres.database import Connection, connect
from alpha.postgres.migrate import ROLES, migrate
from demo.postgres import EmbeddedPostgres
from tests.docs.reference import FOLDER, cell

PAGE = FOLDER / "schema.md"
_HEAD = """# Tables and roles

Written by `python -m tests.docs.schema_reference` from a migrated database; a test compares it with the migrations.

Rights: **r** reads, **a** adds rows, **u** updates (all or some columns), **d** deletes. Functions that a role may call are
listed at the end. What each table is for: [Schema](../database/schema.md).
"""
_RELATIONS = """
SELECT n.nspname AS schema, c.relname AS name, c.relkind::text AS kind, obj_description(c.oid) AS about, c.oid::int8 AS id
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('trading', 'audit') AND c.relkind IN ('r', 'p', 'v', 'm') AND NOT c.relispartition
ORDER BY n.nspname, c.relkind = 'v', c.relname
"""
_COLUMNS = """
SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS needed,
       col_description(a.attrelid, a.attnum) AS about
FROM pg_attribute a WHERE a.attrelid = $1::int8::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_RIGHTS = """
SELECT has_any_column_privilege($1, $2::int8::oid, 'SELECT') AS r,
       has_any_column_privilege($1, $2::int8::oid, 'INSERT') AS a,
       has_any_column_privilege($1, $2::int8::oid, 'UPDATE') AS u,
       has_table_privilege($1, $2::int8::oid, 'DELETE') AS d
"""
_FUNCTIONS = """
SELECT n.nspname || '.' || p.proname AS name
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname IN ('trading', 'audit') AND p.prorettype <> 'trigger'::regtype AND has_function_privilege($1, p.oid, 'EXECUTE')
GROUP BY 1 ORDER BY 1
"""


async def page(connection: Connection) -> str:
    """The whole page, for the database of this connection."""
    parts = [_HEAD]
    for relation in await connection.fetch(_RELATIONS):
        kind = "view" if relation["kind"] in {"v", "m"} else "table"
        rights = []
        for role in ROLES:
            held = await connection.fetchrow(_RIGHTS, role, relation["id"])
            letters = "".join(letter for letter in "raud" if held is not None and held[letter])
            if letters:
                rights.append(f"`{role}` {letters}")
        rows = [
            f"| `{column['name']}` | {column['type']} | {'' if column['needed'] else 'may be null'} | {cell(column['about'] or '')} |"
            for column in await connection.fetch(_COLUMNS, relation["id"])
        ]
        about = f"{' '.join((relation['about'] or '').split())}\n\n" if relation["about"] else ""
        parts.append(
            f"## {relation['schema']}.{relation['name']}\n\n{kind.capitalize()}. {about}"
            f"{'; '.join(rights) or 'No service.'}\n\n| column | type | null | meaning |\n|---|---|---|---|\n"
            + "\n".join(rows)
            + "\n"
        )
    lines = []
    for role in ROLES:
        names = [f"`{row['name']}`" for row in await connection.fetch(_FUNCTIONS, role)]
        lines.append(f"| `{role}` | {', '.join(names) or 'none'} |")
    parts.append("## Functions by role\n\n| role | may call |\n|---|---|\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


async def _write(settings: DatabaseSettings) -> None:
    connection = await connect(settings, "documents")
    await migrate(connection)
    PAGE.write_text(await page(connection), encoding="utf-8")
    await connection.close()


def main() -> None:
    """Migrate a new database and write the page."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder) / "postgres", "documents", durable=False)
        server.start()
        try:
            asyncio.run(_write(server.settings()))
        finally:
            server.stop("immediate")


if __name__ == "__main__":
    main()
