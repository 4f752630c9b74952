"""The service's named queries, from its `.sql` files: each has a name and a sentence that says what it does."""

import re
from importlib.resources import files

_NAMED = re.compile(
    r"^-- name: (?P<name>[a-z_]+)\n(?P<comment>(?:-- [^\n]*\n)+)(?P<text>.*?;)\s*$", re.MULTILINE | re.DOTALL
)


def queries(package: str, file: str) -> dict[str, str]:
    """The queries of one file by name. Raises ValueError for a malformed file."""
    text = files(package).joinpath(file).read_text(encoding="utf-8")
    found = {match["name"]: match["text"].rstrip(";") for match in _NAMED.finditer(text)}
    if len(found) != text.count("-- name: "):
        raise ValueError(f"{file} of {package} has a query without a name, a sentence or an end")
    return found
