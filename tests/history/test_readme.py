"""The documentation is accurate: every query of the README returns the columns shown, every table is documented."""

import re
from pathlib import Path

import pytest

from alpha.config.services import DatabaseSettings
from alpha.postgres.database import Connection
from alpha.registry import Registry
from demo.stack import SYMBOLS
from tests.history.readme import (
    MOST_ROWS,
    README,
    ROOT,
    Table,
    cut,
    make_sample,
    other_columns,
    queries,
    table_of,
)

#: This bot opens short positions only.
SHORT_ONLY = "shortseller_001"
DOCS = ROOT / "docs" / "database"


async def test_every_query_of_the_readme_returns_the_columns_that_are_shown(history_settings: DatabaseSettings) -> None:
    await make_sample(history_settings)
    assert len(queries(README.read_text(encoding="utf-8"))) >= 30
    assert not other_columns(history_settings), "run 'make demo', then 'python -m tests.history.readme'"


def test_the_answers_are_whole_tables_of_what_the_bots_of_the_demo_trade(registry: Registry) -> None:
    bots = {bot.id for bot in registry.bots}
    for query, output in queries(README.read_text(encoding="utf-8")):
        table = table_of(output)
        assert all(len(row) == len(table.columns) for row in table.rows), query
        assert len(table.rows) < table.total if table.is_cut else len(table.rows) == table.total, query
        for row in (dict(zip(table.columns, cells, strict=True)) for cells in table.rows):
            assert row.get("bot_id", SHORT_ONLY) in bots, query
            assert row.get("symbol", SYMBOLS[0]) in SYMBOLS, query
            assert (row.get("bot_id"), row.get("direction")) != (SHORT_ONLY, "long"), query


def test_a_long_answer_is_cut_and_keeps_its_count() -> None:
    rows = [f" {number} | a" for number in range(20)]
    table = table_of(cut("\n".join([" n | name", "---+-----", *rows, "(20 rows)"])))
    assert table == Table(["n", "name"], [[str(number), "a"] for number in range(MOST_ROWS - 2)], 20, is_cut=True)


async def test_the_documents_explain_every_table_view_and_function_and_no_other(owner: Connection) -> None:
    rows = await owner.fetch(
        "SELECT n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname IN ('trading', 'audit') AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition "
        "UNION SELECT 'trading.' || p.proname FROM pg_proc p WHERE p.pronamespace = 'trading'::regnamespace"
    )
    present = {row["name"] for row in rows}
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md")))
    named = set(re.findall(r"`((?:trading|audit)\.[a-z_]+)", text))
    assert named - present == set()
    assert present - named == set()


@pytest.mark.parametrize("path", [README, *sorted(DOCS.glob("*.md"))], ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target
