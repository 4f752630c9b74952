"""Fills in the variables of a compose file's value as compose does: `$$`, `${NAME}`, `${NAME:-default}`, `${NAME:+instead}`, nested."""

import re
from collections.abc import Mapping

_INNERMOST = re.compile(r"\$\{(\w+)(?::([-+])([^${}]*))?\}")
#: Stands for `$$` while the rest is filled in; no YAML text can hold it.
_DOLLAR = "\0"


def filled(text: str, values: Mapping[str, str]) -> str:
    """`text` with its variables filled in; unset ones are empty."""
    text = text.replace("$$", _DOLLAR)
    while match := _INNERMOST.search(text):
        name, kind, rest = match.groups()
        # a `$` in a value is not a variable
        value = values.get(name, "").replace("$", _DOLLAR)
        given = (rest if value else "") if kind == "+" else (value or rest or "")
        text = text[: match.start()] + given + text[match.end() :]
    return text.replace(_DOLLAR, "$")
