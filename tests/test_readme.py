"""Every link of the pages outside of docs/ leads to a file, and to a heading that it has, and every page that they name by its path
is there. Links of docs/ are checked by MkDocs.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    str(page.relative_to(ROOT))
    for pattern in ("*.md", "[a-z]*/README.md", "strategies/*/README.md")
    for page in ROOT.glob(pattern)
    if page.parent.name != "docs"
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
#: A page that is named by its path in the repository.
_NAMED = re.compile(r"`([\w./-]+/[\w-]+\.md)`")
_FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in _HEADING.findall(text)}


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    found = []
    for link in _LINK.findall(_FENCED.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


def missing(page: Path, root: Path = ROOT) -> list[str]:
    """The pages that a page names and that are neither below the repository nor beside it."""
    named = _NAMED.findall(page.read_text(encoding="utf-8"))
    return [each for each in named if not (root / each).exists() and not (page.parent / each).exists()]


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(name: str) -> None:
    assert broken(ROOT / name) == []
    assert missing(ROOT / name) == []


def test_no_page_is_left_out() -> None:
    own = {"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "database/README.md", "columns/README.md"}
    assert own <= set(PAGES)
    assert [name for name in PAGES if name.startswith("strategies/")]


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One `part`, two\n[a](#one-part-two) [b](#three) [c](gone.md) [d](https://x.example/y)\n```\n[e](no)\n```\n"
    )
    assert broken(page) == ["#three", "gone.md"]
    page.write_text("`docs/here.md` `docs/gone.md` `page.md`\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "here.md").touch()
    assert missing(page, tmp_path) == ["docs/gone.md"]
