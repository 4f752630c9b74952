"""Extracts the commands of the README: from code blocks, tables and steps."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
_BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
#: First words of commands; other code spans are names of files, settings, tables and Telegram commands.
_BEGINS = re.compile(r"(?:[A-Z_]+=\S+ )*(?:make|docker compose|git clone|cp|\.venv/bin/alpha) ")


def commands() -> list[str]:
    """Every command of the README once, in order."""
    text = README.read_text(encoding="utf-8")
    found = [line.strip() for block in _BLOCK.findall(text) for line in block.splitlines() if line.strip()]
    prose = _BLOCK.sub("", text)
    found += [span for span in _SPAN.findall(prose) if _BEGINS.match(span)]
    return list(dict.fromkeys(found))
