"""Follows the bots' logs line by line: why they entered and why they exited."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

_MOST = 1 << 20


class LogTail:
    """Follows one log from its end at construction time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def new(self) -> list[Mapping[str, object]]:
        """The JSON lines written since the last call; other lines are skipped."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                written = file.read(_MOST)
        except FileNotFoundError:
            return []
        self._at += len(written)
        *lines, self._rest = (self._rest + written).split(b"\n")
        found: list[Mapping[str, object]] = []
        for line in lines:
            try:
                said = msgspec.json.decode(line)
            except msgspec.DecodeError:
                continue
            if isinstance(said, dict):
                found.append(said)
        return found
