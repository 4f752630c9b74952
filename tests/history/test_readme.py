"""The documentation is accurate: every query of the README produces the output shown, every table is documented."""

import re
from pathlib import Path

import pytest

from alpha.config.services import DatabaseSettings
from alpha.postgres.database import Connection
from tests.history.readme import README, ROOT, answer, make_sample, queries

DOCS = ROOT / "docs" / "database"


async def test_every_query_of_the_readme_gives_the_output_beside_it(history_settings: DatabaseSettings) -> None:
    await make_sample(history_settings)
    found = queries(README.read_text(encoding="utf-8"))
    assert len(found) >= 30
    wrong = [query for query, output in found if answer(history_settings, query) != output]
    assert not wrong, "run 'python -m tests.history.readme' and look at the difference"


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
