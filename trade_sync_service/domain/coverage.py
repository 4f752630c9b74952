"""Which ranges of a history have been read, and which windows to read next. Pure interval arithmetic.

Intervals are half-open: `start_ms` is included, `end_ms` is not.
"""

from collections.abc import Iterable
from typing import NamedTuple

from trade_sync_service.settings import DAY_MS

#: Bybit accepts at most seven days per window.
WINDOW_MS = 7 * DAY_MS


class Interval(NamedTuple):
    """A range of exchange time in milliseconds; `end_ms` is excluded."""

    start_ms: int
    end_ms: int

    @property
    def length_ms(self) -> int:
        """The length in milliseconds."""
        return self.end_ms - self.start_ms


def merged(spans: Iterable[Interval]) -> list[Interval]:
    """The same ranges as the fewest intervals: sorted, adjacent and overlapping ones joined, empty ones dropped."""
    result: list[Interval] = []
    for span in sorted(span for span in spans if span.length_ms > 0):
        if result and span.start_ms <= result[-1].end_ms:
            result[-1] = Interval(result[-1].start_ms, max(result[-1].end_ms, span.end_ms))
        else:
            result.append(span)
    return result


def missing(wanted: Interval, covered: Iterable[Interval]) -> list[Interval]:
    """The parts of `wanted` that no covered interval contains, oldest first."""
    gaps: list[Interval] = []
    at = wanted.start_ms
    for span in merged(covered):
        if span.start_ms >= wanted.end_ms:
            break
        if span.start_ms > at:
            gaps.append(Interval(at, span.start_ms))
        at = max(at, span.end_ms)
    if at < wanted.end_ms:
        gaps.append(Interval(at, wanted.end_ms))
    return gaps


def cut(span: Interval, width_ms: int = WINDOW_MS) -> list[Interval]:
    """`span` in pieces of at most `width_ms`, newest first: recent data matters most."""
    pieces = []
    end = span.end_ms
    while end > span.start_ms:
        start = max(span.start_ms, end - width_ms)
        pieces.append(Interval(start, end))
        end = start
    return pieces


def plan(wanted: Interval, covered: Iterable[Interval], overlap_ms: int) -> list[Interval]:
    """The windows of one run: the missing parts of `wanted` and its last `overlap_ms` again, newest first."""
    again = Interval(max(wanted.start_ms, wanted.end_ms - overlap_ms), wanted.end_ms)
    spans = merged([*missing(wanted, covered), again])
    return [window for span in reversed(spans) for window in cut(span)]
