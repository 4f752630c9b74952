"""Decides when a timeline line may be printed: printed lines cannot be reordered."""

from collections.abc import Iterable

from alpha.model.timestamp import ms_of
from demo.timeline import Line

#: How long a line waits for earlier ones while the progress of the bots is unknown, in seconds.
LONGEST_S = 2.0
#: Maximum delay of events and log lines after a bot has evaluated a bar, in seconds.
HEARD_S = 0.5


class LineScheduler:
    """Buffer of received lines that are not printed yet."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, Line]] = []

    def hear(self, lines: Iterable[Line], now_s: float) -> None:
        """Add lines received at `now_s` (monotonic clock)."""
        self._waiting += [(now_s, line) for line in lines]

    def due(self, now_s: float, evaluated_ms: int | None) -> list[Line]:
        """Return, in market order, the lines that no later arrival can precede.

        `evaluated_ms` is the market time up to which every bot has finished acting; None when unknown.
        """
        ripe = [line.place for heard_s, line in self._waiting if now_s - heard_s >= self._limit_s(line, evaluated_ms)]
        if not ripe:
            return []
        # Everything ordered before a due line is returned with it, however recently it arrived.
        last = max(ripe)
        due = [line for _, line in self._waiting if line.place <= last]
        self._waiting = [(heard_s, line) for heard_s, line in self._waiting if line.place > last]
        return sorted(due, key=lambda line: line.place)

    def rest(self) -> list[Line]:
        """Return everything that is left, in market order."""
        return self.due(float("inf"), None)

    @staticmethod
    def _limit_s(line: Line, evaluated_ms: int | None) -> float:
        return HEARD_S if evaluated_ms is not None and ms_of(line.moment) < evaluated_ms else LONGEST_S
