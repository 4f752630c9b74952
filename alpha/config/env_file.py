"""Parses `.env` the way both of its readers do: Docker Compose for the containers, python-dotenv for `alpha`.

They agree on most lines but differ silently on some: `ab$cd` is `ab` for one, `KEY=   # comment` is the comment.
A line they would read differently is refused, with the correct notation, so that a password is the same everywhere.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alpha.errors import Misconfigured

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT = re.compile(r"(?:export[ ]+)?([^=]*?)[ \t]*=[ \t]*(.*)", re.DOTALL)
_ADVICE = "Write it in single quotes: {name}='...'."


@dataclass(frozen=True, slots=True)
class Fault:
    """An unusable line: its number, from 1, and one sentence that never contains the value."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class EnvFile:
    """The variables a `.env` sets, and its faults. Variables on faulty lines are omitted."""

    values: Mapping[str, str]
    faults: tuple[Fault, ...]


def parse(text: str) -> EnvFile:
    """Parse the text of a `.env`. If a variable is set twice, the last line wins, as for both readers."""
    values: dict[str, str] = {}
    faults: list[Fault] = []
    for number, line in enumerate(text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n"), start=1):
        stripped = line.strip(" \t")
        if not stripped or stripped.startswith("#"):
            continue
        name, value, fault = _line(stripped)
        if fault:
            faults.append(Fault(number, fault))
            values.pop(name, None)
        else:
            values[name] = value
    if text.startswith("\ufeff"):
        faults.insert(0, Fault(1, "it begins with a byte order mark. Save it as UTF-8 without one."))
    return EnvFile(values, tuple(faults))


def read(path: Path) -> EnvFile:
    """Read a `.env`; a missing one sets nothing. Raises Misconfigured when it cannot be read at all."""
    try:
        return parse(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        return EnvFile({}, ())
    except UnicodeDecodeError as fault:
        raise Misconfigured(
            f"{path} is not UTF-8 (byte {fault.start} is 0x{fault.object[fault.start]:02x}). Save it as UTF-8."
        ) from None
    except OSError as fault:
        raise Misconfigured(f"{path} cannot be read: {fault.strerror}.") from None


def sentences(path: Path, file: EnvFile) -> list[str]:
    """The faults as sentences that name the file and the line."""
    return [f"{path}, line {fault.line}: {fault.text}" for fault in file.faults]


def invisible(text: str) -> str | None:
    """The first invisible character in a value, by name and position; None when there is none.

    Pasted keys contain them: zero-width spaces, no-break spaces, direction marks, control characters.
    """
    for place, character in enumerate(text, start=1):
        kind = unicodedata.category(character)
        if character != " " and (kind[0] in "CZ"):
            name = unicodedata.name(character, f"U+{ord(character):04X}")
            return f"{name} at position {place}"
    return None


def quoted(value: str) -> str:
    """A value quoted so that both readers take it literally. Raises ValueError if no quoting can express it."""
    if re.fullmatch(r"[A-Za-z0-9_./:@%+,=*!?~^&()\[\]{}<>|;-]*", value):
        return value
    if "'" not in value and "\\" not in value and "\n" not in value and "${" not in value:
        return f"'{value}'"
    if not set(value) & set('"$\\\n`'):
        return f'"{value}"'
    raise ValueError("it has a backslash, ${, or a single quote together with $ or a double quote")


def _line(stripped: str) -> tuple[str, str, str]:
    """Name, value and fault of one line; either value or fault is empty."""
    match = _ASSIGNMENT.fullmatch(stripped)
    if match is None:
        return "", "", "this is not NAME=value. Complete it, or comment it out with #."
    name, raw = match.groups()
    if not _NAME.fullmatch(name):
        return "", "", f"{name[:40]!r} is not a variable name. Use letters, digits and underscores."
    hidden = invisible(raw.replace("\t", " "))
    if hidden is not None:
        return name, "", f"{name} holds an invisible character ({hidden}). Type the value again."
    if raw[:1] in ("'", '"'):
        return name, *_quoted(name, raw)
    return name, *_plain(name, raw)


def _plain(name: str, raw: str) -> tuple[str, str]:
    if raw.startswith("#"):
        return "", (
            f"{name} is empty for 'alpha' and the comment for the containers. Put the comment on a line of its own."
        )
    if re.search(r"\t[ \t]*#| \t+#", raw):
        return "", f"{name} has a tab before #, which not all take for a comment. Use a blank, or a line of its own."
    value = re.split(r" +#", raw, maxsplit=1)[0].rstrip(" \t")
    if "$" in value:
        return "", f"{name} holds $, which the containers take for a variable. {_ADVICE.format(name=name)}"
    if "\\" in value:
        return "", f"{name} holds a backslash, which not all read alike. {_ADVICE.format(name=name)}"
    if value[-1:] in ("'", '"') or "\t" in value:
        return "", f"{name} ends with a quote that was never opened, or holds a tab. {_ADVICE.format(name=name)}"
    return value, ""


def _quoted(name: str, raw: str) -> tuple[str, str]:
    mark, kind = raw[0], "single" if raw[0] == "'" else "double"
    end = raw.find(mark, 1)
    if end < 0:
        return "", f"{name} opens a {kind} quote and does not close it. Close it on the same line, or leave it out."
    value, rest = raw[1:end], raw[end + 1 :]
    if "\\" in value:
        return "", f"{name} holds a backslash within quotes, which not all read alike. Choose a value without one."
    if mark == "'" and "${" in value:
        return "", f"{name} holds ${{, which 'alpha' takes for a variable in any form. Choose a value without it."
    if mark == '"' and "$" in value:
        return "", f"{name} holds $, which is taken for a variable within double quotes. {_ADVICE.format(name=name)}"
    if rest and not re.fullmatch(r" +#.*| +", rest):
        return "", f"{name} has something after its closing quote. Remove it, or put it within the quotes."
    return value, ""
