"""Whoever orders fills orders those of one match by the one rule: `trading.fill_rank` in SQL, `unit_key` in Python."""

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from alpha.model.fill_order import fill_rank
from alpha.postgres.database import Connection
from tests.support.world import ROOT

#: By time and number, then by the random id: two fills of one match would come in the order of their ids.
_ORDER_BY = re.compile(r"ORDER\s+BY\s+(?:(?!ORDER\s+BY|SELECT|FROM|LIMIT|WHERE)[^;])*?\bexec_id\b", re.IGNORECASE)
#: Whose order is no order of events: locks are taken in the order of the key, files are compared by it.
_KEYS = {"alpha/postgres/fills.py", "alpha/postgres/archive.py", "alpha/postgres/archive.sql"}


def by_id_alone(text: str) -> list[str]:
    """The ORDER BY clauses that end with the id and do not ask for the rank before it."""
    return [
        found.group(0)
        for found in _ORDER_BY.finditer(text)
        if re.search(r"\b(exec_time|seq)\b", found.group(0)) and "fill_rank" not in found.group(0)
    ]


def _services() -> Iterator[tuple[str, str]]:
    """Name and text of each module that is no test's, and of its queries; an applied migration never changes."""
    for path in sorted([*ROOT.rglob("*.py"), *ROOT.rglob("*.sql")]):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith((".", "tests/", "database/migrations/")) and "/tests/" not in name and name not in _KEYS:
            yield name, path.read_text(encoding="utf-8")


async def test_the_rank_is_the_same_in_both_languages(owner: Connection) -> None:
    ranks = {("2", "2"): 0, ("1", "2"): 1, (None, "2"): 2, ("0", "2"): 3, ("0.00", "0"): 3}
    for (closed, qty), rank in ranks.items():
        told = None if closed is None else Decimal(closed)
        assert fill_rank(told, Decimal(qty)) == rank
        assert await owner.fetchval("SELECT trading.fill_rank($1, $2)", told, Decimal(qty)) == rank


def test_the_check_itself() -> None:
    assert by_id_alone("SELECT 1 ORDER BY exec_time, seq, exec_id") != []
    assert by_id_alone("ORDER BY f.seq DESC, f.exec_id DESC LIMIT 1") != []
    assert by_id_alone("ORDER BY exec_time, seq, trading.fill_rank(closed_size, qty), exec_id") == []
    assert by_id_alone("string_agg(u.exec_id, ' ' ORDER BY u.exec_id)") == []


async def test_no_function_and_no_view_orders_fills_by_their_ids(owner: Connection) -> None:
    bodies = await owner.fetch(
        "SELECT p.oid::regprocedure::text AS name, pg_get_functiondef(p.oid) AS body FROM pg_proc p "
        "WHERE p.pronamespace = 'trading'::regnamespace AND p.prokind = 'f' "
        "UNION ALL SELECT c.oid::regclass::text, pg_get_viewdef(c.oid) FROM pg_class c "
        "WHERE c.relnamespace = 'trading'::regnamespace AND c.relkind IN ('v', 'm')"
    )
    assert len(bodies) > 50
    assert {row["name"]: found for row in bodies if (found := by_id_alone(row["body"]))} == {}


def test_no_query_of_a_service_orders_fills_by_their_ids() -> None:
    assert {name: found for name, text in _services() if (found := by_id_alone(text))} == {}


def test_no_document_orders_fills_by_their_ids() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("database/*.md"), *(ROOT / "docs").rglob("*.md")]
    assert len(pages) > 20
    assert {page.name: found for page in pages if (found := by_id_alone(page.read_text(encoding="utf-8")))} == {}


def test_no_sort_of_a_service_ends_with_the_id() -> None:
    found = [
        f"{name}: {line.strip()}"
        for name, text in _services()
        for line in text.splitlines()
        if re.search(r"key=lambda.*exec_time.*exec_id", line)
    ]
    assert found == []


def test_what_is_excepted_exists() -> None:
    assert all((ROOT / Path(name)).exists() for name in _KEYS)
