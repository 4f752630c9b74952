"""How old a bot's live state is, by the reader's own clock.

Clocks of two hosts cannot be compared, and one that steps back makes old data look new. So the listener counts: each
second it writes a higher `beat` beside the age that its last audit has by its own clock. A reader takes from a counter
that has moved that it was written after its previous read, and ages it from there. A counter that stands grows old; what
was read only once proves nothing.
"""

from dataclasses import dataclass

#: `synced` means: compared with the exchange within this time.
VALID_S = 30.0
#: The listener beats each second. A reader that has watched a counter for longer knows that it stands.
BEAT_S = 1.0
PATIENCE_S = 2.5


@dataclass(slots=True)
class Beats:
    """The counter of one bot as one reader has seen it. Times are of the reader's own clock, in milliseconds."""

    _last: tuple[str, int] | None = None
    _first_asked_ms: int = 0
    _last_asked_ms: int = 0
    _before_ms: int | None = None

    def saw(self, writer: str, beat: int, asked_ms: int) -> None:
        """A read that was asked at `asked_ms` has found this counter of this listener."""
        found = (writer, beat)
        if found != self._last:
            moved = self._last is not None and (writer != self._last[0] or beat > self._last[1])
            # what this read found was not there when the one before was asked, so it is no older than that
            self._before_ms = self._last_asked_ms if moved else None
            self._last, self._first_asked_ms = found, asked_ms
        self._last_asked_ms = asked_ms

    def age_s(self, now_ms: int) -> float | None:
        """At most so long ago the counter was written; None while nothing proves that it moves."""
        return None if self._before_ms is None else (now_ms - self._before_ms) / 1000

    def watched_s(self, now_ms: int) -> float:
        """For how long it has been read without a change."""
        return (now_ms - self._first_asked_ms) / 1000
