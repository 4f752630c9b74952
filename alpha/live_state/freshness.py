"""How old a bot's live state is, by the reader's own clock.

Clocks of two hosts cannot be compared, and a clock stepping back makes old data look new. So the listener counts:
every second it writes a higher `beat` and the age of its last reconciliation by its own clock. When the counter has
moved, the reader knows it was written after its previous read, and ages it from there. A counter that stops ages; a
single read proves nothing.
"""

from dataclasses import dataclass

#: `synced` means: compared with the exchange within this time.
VALID_S = 30.0
#: With many accounts audits are rarer, and the listener writes a longer time beside its status; at most this one is believed.
MOST_VALID_S = 300.0
#: The listener beats every second. A reader that has watched a counter for longer knows that it has stopped.
BEAT_S = 1.0
PATIENCE_S = 2.5


@dataclass(slots=True)
class Beats:
    """One bot's counter as seen by one reader. Times are of the reader's own clock, in milliseconds."""

    #: Whether it was ever seen to move.
    moved: bool = False
    _last: tuple[str, int] | None = None
    _first_asked_ms: int = 0
    _last_asked_ms: int = 0
    _before_ms: int | None = None

    def saw(self, writer: str, beat: int, asked_ms: int) -> None:
        """Record that a read requested at `asked_ms` found this counter of this listener."""
        found = (writer, beat)
        if found != self._last:
            moved = self._last is not None and (writer != self._last[0] or beat > self._last[1])
            # this value was not there when the previous read was requested, so it is not older than that
            self._before_ms = self._last_asked_ms if moved else None
            self.moved = self.moved or moved
            self._last, self._first_asked_ms = found, asked_ms
        self._last_asked_ms = asked_ms

    def age_s(self, now_ms: int) -> float | None:
        """Upper bound of the counter's age in seconds; None while nothing proves that it moves."""
        return None if self._before_ms is None else (now_ms - self._before_ms) / 1000

    def watched_s(self, now_ms: int) -> float:
        """How long it has been read without a change, in seconds."""
        return (now_ms - self._first_asked_ms) / 1000
