"""When a line of the story may be printed: lines that were printed cannot be moved any more."""

from collections.abc import Iterable

from alpha.model.timestamp import ms_of
from demo.timeline import Line

#: How long a line waits for those that come before it while nobody knows how far the bots are.
LONGEST_S = 2.0
#: How long what a bot has done may take to be heard of.
HEARD_S = 0.5


class LineScheduler:
    """Lines that were heard and not yet printed."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, Line]] = []

    def hear(self, lines: Iterable[Line], now_s: float) -> None:
        """Take lines at `now_s` of the monotonic clock."""
        self._waiting += [(now_s, line) for line in lines]

    def due(self, now_s: float, evaluated_ms: int | None) -> list[Line]:
        """Give out, in the market's order, what nothing can come before any more.

        `evaluated_ms` is the market's time up to which every bot has done what it will do, None when nobody knows.
        """
        ripe = [line.place for heard_s, line in self._waiting if now_s - heard_s >= self._limit_s(line, evaluated_ms)]
        if not ripe:
            return []
        # Whatever belongs before a line goes with it, however short a time ago it was heard.
        last = max(ripe)
        due = [line for _, line in self._waiting if line.place <= last]
        self._waiting = [(heard_s, line) for heard_s, line in self._waiting if line.place > last]
        return sorted(due, key=lambda line: line.place)

    def rest(self) -> list[Line]:
        """Give out everything that is left, in the market's order."""
        return self.due(float("inf"), None)

    @staticmethod
    def _limit_s(line: Line, evaluated_ms: int | None) -> float:
        return HEARD_S if evaluated_ms is not None and ms_of(line.moment) < evaluated_ms else LONGEST_S
