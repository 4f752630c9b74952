"""Makes log lines readable: a JSON line becomes time, level, event and fields; other lines are unchanged."""

import json
import re
from datetime import UTC, datetime, tzinfo
from typing import Any

from operations.storable import storable

#: Fields that the page already shows, or that mean nothing to a person.
_LEFT_OUT = frozenset({"timestamp", "level", "event", "service", "logger", "exception", "stack"})
_LEVELS = {"warning": "WARN", "error": "ERROR", "critical": "CRIT"}
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_VALUE_KEPT = 160


def readable(output: str, zone: tzinfo = UTC) -> str:
    """Return a service's output, one line per event, times in `zone`."""
    lines = _COLOURS.sub("", output).replace("\r\n", "\n").strip("\n").split("\n")
    return "\n".join(_line(line, zone) for line in lines)


def _line(line: str, zone: tzinfo) -> str:
    fields = _fields(line)
    if fields is None:
        return storable(line)
    level = str(fields.get("level", "info"))
    shown = [_time(fields.get("timestamp"), zone), _LEVELS.get(level, level), str(fields["event"])]
    shown += [
        f"{name}={_value(value)}" for name, value in fields.items() if name not in _LEFT_OUT and value not in ("", None)
    ]
    trace = str(fields.get("exception") or "").strip()
    if trace:
        # the last line of a traceback names the error; the rest is in the log file
        shown.append(f"({trace.splitlines()[-1][:_VALUE_KEPT]})")
    return storable(" ".join(part for part in shown if part)).replace("\n", " ")


def _fields(line: str) -> dict[str, Any] | None:
    if not line.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and "event" in found else None


def _time(stamp: object, zone: tzinfo) -> str:
    try:
        return f"{datetime.fromisoformat(str(stamp)).astimezone(zone):%H:%M:%S}"
    except (ValueError, OverflowError):
        return ""


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return f"{text[:_VALUE_KEPT]}…" if len(text) > _VALUE_KEPT else text
