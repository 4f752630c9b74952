"""PostgreSQL understands every query of the product's files: its tables, columns and types exist."""

import asyncpg

from alpha.postgres.database import Connection
from alpha.postgres.sql import queries
from tests.test_sql_files import ROOT, modules

#: Its tables are of the sweeps' database, which Optuna makes.
ELSEWHERE = {"dashboard/sweeps.py": {"studies"}}


async def test_every_query_is_understood(owner: Connection) -> None:
    refused, seen = [], 0
    for name, _ in modules():
        path = ROOT / name
        if not path.with_suffix(".sql").exists():
            continue
        for query, text in queries(str(path)).items():
            if query in ELSEWHERE.get(name, ()):
                continue
            seen += 1
            try:
                await owner.prepare(text)
            except asyncpg.PostgresError as fault:
                refused.append(f"{name}: {query}: {fault}")
    assert refused == []
    assert seen > 200
