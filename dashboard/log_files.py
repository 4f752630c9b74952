"""Log files of the services, where a folder of them is mounted: the newest lines by level and words, and errors of a day."""

import os
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from alpha.errors import Rejected
from operations.storable import storable

_NAME = re.compile(r"[a-z0-9_-]{1,60}")
LEVELS = ("debug", "info", "warning", "error", "critical")
#: How much of the end of a file is read: about 20,000 lines.
_TAIL_BYTES = 4_000_000
_MOST_LINES = 500


@dataclass(frozen=True, slots=True)
class LogErrors:
    """Lines of one service at level error or above within the last day, and the newest of them."""

    service: str
    count: int
    newest: str


def services(folder: Path | None) -> dict[str, Path]:
    """The newest log file of each service: `<folder>/<service>.log` or `<folder>/<service>/*.log`."""
    found: dict[str, Path] = {}
    if folder is None or not folder.is_dir():
        return found
    for path in sorted([*folder.glob("*.log"), *folder.glob("*/*.log")]):
        name = path.stem if path.parent == folder else path.parent.name
        if _NAME.fullmatch(name) and path.is_file():
            found[name] = path
    return found


def tail(folder: Path | None, service: str, level: str, words: str) -> list[str]:
    """The newest lines of a service at `level` or above that hold every word, oldest first. Rejected for an unknown one."""
    path = services(folder).get(service)
    if path is None:
        raise Rejected(f"There is no log of {service[:40]!r} here.")
    if level and level not in LEVELS:
        raise Rejected(f"The level must be one of {', '.join(LEVELS)}, got {level[:40]!r}.")
    least = LEVELS.index(level) if level else 0
    wanted = words.lower().split()
    lines = [
        line
        for line in _lines(path)
        if (not least or _level(line) >= least) and all(word in line.lower() for word in wanted)
    ]
    return [_readable(line) for line in lines[-_MOST_LINES:]]


def errors_of_a_day(folder: Path | None, now: datetime) -> list[LogErrors]:
    """Each service with its count of errors within 24 hours before `now` (wall clock)."""
    since = now - timedelta(hours=24)
    found = []
    for name, path in services(folder).items():
        bad = [line for line in _lines(path) if _level(line) >= LEVELS.index("error") and _is_after(line, since)]
        found.append(LogErrors(name, len(bad), _readable(bad[-1])[:300] if bad else ""))
    return found


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            data = file.read()
    except OSError:
        return []
    lines = data.decode("utf-8", "replace").splitlines()
    return lines[1:] if len(data) < size else lines


def _fields(line: str) -> dict[str, object]:
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _level(line: str) -> int:
    found = str(_fields(line).get("level", ""))
    if found in LEVELS:
        return LEVELS.index(found)
    # a line of another program, or a traceback
    return LEVELS.index("error") if re.search(r"\b(error|traceback|critical|fatal)\b", line, re.IGNORECASE) else 1


def _is_after(line: str, since: datetime) -> bool:
    try:
        return datetime.fromisoformat(str(_fields(line).get("timestamp", ""))) >= since
    except (ValueError, TypeError):
        return False


def _readable(line: str) -> str:
    fields = _fields(line)
    if not fields:
        return storable(line, 2_000)
    first = [str(fields.pop(name, "")) for name in ("timestamp", "level", "event")]
    rest = " ".join(f"{name}={value}" for name, value in fields.items())
    return storable(f"{first[0][:19].replace('T', ' ')} {first[1]:<8} {first[2]} {rest}".rstrip(), 2_000)
