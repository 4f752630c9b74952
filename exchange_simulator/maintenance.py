"""Maintenance as `system/status` and `system.status` show it: scheduled, ongoing, completed;
announced or carried out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

OPEN_PATHS = frozenset({"/v5/system/status", "/v5/market/time"})


@dataclass(slots=True)
class Window:
    """One announced window. `state` is as given, unless the window is carried out: then it follows time."""

    id: str
    title: str
    begin_ms: int
    end_ms: int
    state: str = "scheduled"
    carried_out: bool = False

    def state_at(self, now_ms: int) -> str:
        """`scheduled`, `ongoing` or `completed`."""
        if not self.carried_out:
            return self.state
        return "scheduled" if now_ms < self.begin_ms else "ongoing" if now_ms < self.end_ms else "completed"

    def row(self, now_ms: int) -> dict[str, Any]:
        """A row of `system/status`."""
        return {
            "id": self.id,
            "title": self.title,
            "state": self.state_at(now_ms),
            "begin": str(self.begin_ms),
            "end": str(self.end_ms),
            "href": "",
            "serviceTypes": [2, 5],
            "product": [1, 2],
            "uidSuffix": [],
            "maintainType": 1,
            "env": 1,
        }


class Maintenance:
    """All windows. While one is carried out, calls are refused, streams are cut and new ones are refused."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self.windows: dict[str, Window] = {}
        self.cut: Callable[[], object] = lambda: None  # cuts the open streams
        self._closed = False

    def rows(self) -> list[dict[str, Any]]:
        now = self._now()
        return [window.row(now) for window in self.windows.values()]

    @property
    def closed(self) -> bool:
        """Whether a window is being carried out now."""
        now = self._now()
        return any(w.carried_out and w.begin_ms <= now < w.end_ms for w in self.windows.values())

    def look(self) -> None:
        """Cuts the streams when a window has just started."""
        closed = bool(self.windows) and self.closed
        if closed and not self._closed:
            self.cut()
        self._closed = closed
