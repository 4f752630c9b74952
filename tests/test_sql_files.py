"""Queries are in the `.sql` file beside their module, each with a name and a sentence; every name is one that is used."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from alpha.postgres.sql import queries

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "alpha", "alpha_cli", "analysis_service", "api_server", "backtester", "bot_control", "bot_runner", "dashboard", "database",
    "demo", "exchange_simulator", "model_server", "operations", "research", "risk_guard", "strategies", "telegram_manager",
    "tick_recorder", "trade_sync_service", "websocket_listener",
)  # fmt: skip
#: What begins a query. Commands of one line that are no query (SET, LOCK, CREATE, ALTER) stay where they are sent.
_QUERY = re.compile(
    r"\s*(SELECT\b|INSERT INTO\b|DELETE FROM\b|UPDATE [\w.{}]+ (AS \w+ )?SET\b|UPDATE [\w.]+ \w+ SET\b|WITH [a-z_]+ AS\b)"
)
#: Module -> queries in Python, and why they are there.
EXCEPTIONS = {
    "alpha/influx.py": (1, "InfluxDB's language"),
    "alpha/postgres/fills.py": (1, "made of the columns of Fill, so that none is forgotten"),
    "alpha/postgres/lease.py": (4, "made for the table and key of each kind of lease"),
    "alpha/postgres/ledger.py": (1, "one query for two tables"),
    "alpha/postgres/partition.py": (8, "made for the table's columns and the name of its copy"),
    "api_server/app.py": (1, "SELECT 1: whether PostgreSQL answers"),
    "dashboard/app.py": (1, "SELECT 1: whether PostgreSQL answers"),
    "database/backup/fingerprint.py": (1, "made for each table and its columns"),
    "exchange_simulator/storage.py": (10, "SQLite, and the simulated exchange imports nothing of ours"),
    "operations/analytics.py": (1, "one query for each function that reports a period"),
    "operations/entries.py": (2, "one query for each way to group"),
    "operations/search.py": (5, "filters are added as they are asked for"),
    "research/database.py": (2, "psycopg takes literals only, so that no value gets into a statement"),
    "research/studies.py": (20, "psycopg takes literals only, so that no value gets into a statement"),
    "telegram_manager/app.py": (1, "SELECT 1: whether PostgreSQL answers"),
    "tick_recorder/influx/sink.py": (1, "InfluxDB's language"),
    "tick_recorder/own_fills.py": (1, "a schema of the release before has no intents to join"),
    "websocket_listener/store.py": (
        4,
        "made of the columns of OrderRow and its closed states; a schema before has fewer",
    ),
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module of the product, by its path in the repository."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT)
            if "tests" not in name.parts:
                yield str(name), ast.parse(path.read_text(encoding="utf-8"))


def literals(tree: ast.Module) -> Iterator[str]:
    """The text of every literal that begins like a query; what an f-string inserts is {}."""
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in said or id(node) in parts:
            continue
        text = ""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        elif isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        if _QUERY.match(text):
            yield text


def test_queries_are_in_files_but_for_those_with_a_reason() -> None:
    found = Counter(name for name, tree in modules() for _ in literals(tree))
    assert found == {name: number for name, (number, _) in EXCEPTIONS.items()}


def test_each_name_has_a_query_and_each_query_is_used_by_its_module() -> None:
    wrong, files = [], set()
    for name, tree in modules():
        file = (ROOT / name).with_suffix(".sql")
        has = set(queries(str(ROOT / name))) if file.exists() else set()
        files.add(file)
        asked = {
            str(node.slice.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Subscript)
            and isinstance(node.slice, ast.Constant)
            and ast.unparse(node.value) == "SQL"
        }
        words = {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        wrong += [f"{name}: there is no query {query}" for query in asked - has]
        wrong += [f"{name}: nothing uses the query {query}" for query in has - words]
    assert wrong == []
    beside = {path for package in PACKAGES for path in (ROOT / package).rglob("*.sql")}
    assert {path for path in beside - files if "migrations" not in path.parts} == set()


@pytest.mark.parametrize(
    "text",
    [
        "-- name: one\nSELECT 1;\n",
        "-- name: one\n-- A sentence.\nSELECT 1\n",
        "-- name: one\n-- A.\nSELECT 1;\n\n-- name: one\n-- B.\nSELECT 2;\n",
    ],
)
def test_a_query_without_a_sentence_an_end_or_a_name_of_its_own_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "module.sql").write_text(text)
    with pytest.raises(ValueError, match=r"module\.sql has a query without"):
        queries(str(tmp_path / "module.py"))
