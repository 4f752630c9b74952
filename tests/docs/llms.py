"""`llms.txt` and `llms-full.txt` for programs that read documents: built with them, from the same navigation (llmstxt.org).

`python -m tests.docs.llms FOLDER` writes both into the built site. llms.txt lists every page with its first sentence, llms-full.txt holds
every page whole.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SUMMARY = (
    "Several trading bots on Bybit as one system whose books are right: every fill once, profit and loss with fees and funding, "
    "reconciled with the exchange to the last digit."
)


def pages() -> list[tuple[str, str, Path]]:
    """Section, title and file of every page of the navigation, in its order."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    # only the navigation: other parts may hold tags that a plain reader does not know
    nav = re.search(r"^nav:\n((?:[ -].*\n?)+)", text, re.MULTILINE)
    if nav is None:
        raise ValueError("mkdocs.yml has no navigation")
    return list(_walk(yaml.safe_load(nav[0])["nav"], ""))


def _walk(items: list[Any], section: str) -> Iterator[tuple[str, str, Path]]:
    for item in items:
        for title, what in item.items():
            if isinstance(what, list):
                yield from _walk(what, title)
            else:
                yield section, title, DOCS / what


def first_sentence(text: str) -> str:
    """The first sentence of a page's prose, without marks; "" when it has none."""
    for paragraph in text.split("\n\n"):
        lines = [line.strip() for line in paragraph.strip().splitlines()]
        if not lines or lines[0].startswith(("#", "|", "```", "!", "-", "<", "1.")):
            continue
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(lines)).replace("`", "").replace("**", "")
        return re.split(r"(?<=[.:;?])\s", plain, maxsplit=1)[0].rstrip(":;")[:240]
    return ""


def short() -> str:
    """llms.txt."""
    lines = ["# Alpha", "", f"> {SUMMARY}"]
    section = None
    for part, title, path in pages():
        if part != section:
            section = part
            lines += ["", f"## {part or 'Overview'}", ""]
        sentence = first_sentence(path.read_text(encoding="utf-8"))
        link = path.relative_to(DOCS).with_suffix("").as_posix()
        link = "" if link == "index" else f"{link.removesuffix('/README')}/"
        lines.append(f"- [{title}]({link or './'})" + (f": {sentence}" if sentence else ""))
    return "\n".join(lines) + "\n"


def full() -> str:
    """llms-full.txt."""
    parts = [f"# Alpha\n\n> {SUMMARY}\n"]
    for _, title, path in pages():
        parts.append(
            f"<!-- {title}: docs/{path.relative_to(DOCS).as_posix()} -->\n\n{path.read_text(encoding='utf-8').strip()}\n"
        )
    return "\n".join(parts)


def write(folder: Path) -> None:
    """Write both files into the folder of the built site."""
    (folder / "llms.txt").write_text(short(), encoding="utf-8")
    (folder / "llms-full.txt").write_text(full(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
