"""A module's named queries, from the `.sql` file beside it: each has a name and a sentence that says what it does.

SQL = queries(__file__)      # store.py reads store.sql
await connection.fetch(SQL["open_orders"], account_id)
"""

import re
from pathlib import Path

_NAMED = re.compile(
    r"^-- name: (?P<name>[a-z0-9_]+)\n(?P<comment>(?:-- [^\n]*\n)+)(?P<text>.*?;)\s*$", re.MULTILINE | re.DOTALL
)


def queries(module: str) -> dict[str, str]:
    """The queries of the module with this `__file__`, by name, without the semicolon. Raises ValueError for a malformed file."""
    path = Path(module).with_suffix(".sql")
    text = path.read_text(encoding="utf-8")
    found = {match["name"]: match["text"].rstrip(";") for match in _NAMED.finditer(text)}
    if len(found) != text.count("-- name: "):
        raise ValueError(f"{path} has a query without a name, a sentence or an end, or two of the same name.")
    return found
