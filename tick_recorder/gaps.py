"""Gaps: periods in which rows were not received. Every interruption is a gap until it is proved that nothing is missing.

A gap is stored when it begins and again when it ends, under the same id; the latest row of an id counts. A gap is stored
before any later row of its kind, so that a killed process never leaves a hole that looks like a quiet market.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum

import msgspec

from tick_recorder.schema import Kind


class GapState(StrEnum):
    """OPEN: ongoing. CLOSED: over, rows are missing. FILLED: an interruption in which nothing was lost."""

    OPEN = "open"
    CLOSED = "closed"
    FILLED = "filled"


class Gap(msgspec.Struct, frozen=True):
    """Rows of `kind` and `symbol` after `ts` and before `until` (milliseconds; None while open) were not received."""

    ts: int
    gap_id: str
    kind: str
    symbol: str
    until: int | None
    reason: str
    state: str
    received_us: int | None = None
    ordinal: int = 0


Series = tuple[Kind, str]


class GapBook:
    """The open gaps, at most one per kind and symbol. `record(gap)` stores a row."""

    def __init__(self, record: Callable[[Gap], None], now_us: Callable[[], int]) -> None:
        self.opened = 0
        self.lost = 0
        self._record = record
        self._now_us = now_us
        self._open: dict[Series, Gap] = {}
        self._number = 0

    def __len__(self) -> int:
        return len(self._open)

    def restore(self, gaps: Iterable[Gap]) -> None:
        """Take over gaps that an earlier process left open."""
        for gap in gaps:
            self._open[(Kind(gap.kind), gap.symbol)] = gap

    def find(self, kind: Kind, symbol: str) -> Gap | None:
        """The open gap of a kind and symbol."""
        return self._open.get((kind, symbol))

    def open(self, kind: Kind, symbol: str, since_ms: int, reason: str) -> None:
        """Open a gap after `since_ms`, the newest row's time. An already open gap is kept, and extended back to it.

        A gap may begin too late after a kill: it is stored before the rows that precede it, which may have been lost.
        """
        known = self._open.get((kind, symbol))
        if known is not None:
            if since_ms < known.ts:
                received_us = max(self._now_us(), (known.received_us or 0) + 1)
                wider = msgspec.structs.replace(known, ts=since_ms, received_us=received_us)
                self._open[(kind, symbol)] = wider
                self._record(wider)
            return
        now_us = self._now_us()
        self._number += 1
        gap = Gap(since_ms, f"{now_us:x}-{self._number:x}", kind, symbol, None, reason, GapState.OPEN, now_us)
        self._open[(kind, symbol)] = gap
        self.opened += 1
        self._record(gap)

    def close(self, kind: Kind, symbol: str, until_ms: int, *, missing: bool) -> None:
        """Close the gap. `missing` is False if nothing was lost in it."""
        gap = self._open.pop((kind, symbol), None)
        if gap is None:
            return
        state = GapState.CLOSED if missing else GapState.FILLED
        self.lost += missing
        self._record(
            msgspec.structs.replace(
                gap,
                until=max(until_ms, gap.ts),
                state=state,
                received_us=max(self._now_us(), (gap.received_us or 0) + 1),
            )
        )
