"""Reads one window of closed-P&L rows completely, even if pages repeat or shift during the read.

Late rows push others to the next page, where they appear again. A window whose pages share a row is
therefore read again until two readings agree: only then are equal rows known to be distinct trades.
"""

from collections import Counter
from typing import NamedTuple

from alpha.bybit.client import Gateway
from alpha.bybit.errors import Busy, UnreadableRow
from alpha.bybit.models import ClosedPnl
from alpha.bybit.rate_limiter import Priority
from trade_sync_service.domain.coverage import Interval

READINGS = 5


class Reading(NamedTuple):
    """A completely read window. `fetched` counts all rows received, repeats included."""

    rows: list[ClosedPnl]
    unreadable: list[UnreadableRow]
    fetched: int


async def read_window(
    gateway: Gateway, window: Interval, *, symbol: str | None = None, rank: Priority = Priority.BACKFILL
) -> Reading:
    """All rows whose closing order was created within `window`.

    Raises Busy when five readings do not agree, and the gateway's errors: then nothing is known of the window.
    """
    before: Counter[ClosedPnl] | None = None
    fetched = 0
    for _ in range(READINGS):
        rows, unreadable, count, shared = await _read(gateway, window, symbol, rank)
        fetched += count
        now = Counter(rows)
        if not shared or now == before:
            return Reading(rows, unreadable, fetched)
        before = now
    raise Busy("The pages of a window of closed P&L change with every reading; it is read again later.")


async def _read(
    gateway: Gateway, window: Interval, symbol: str | None, rank: Priority
) -> tuple[list[ClosedPnl], list[UnreadableRow], int, bool]:
    """(rows, unreadable rows, rows fetched, whether two pages share a row)"""
    rows: list[ClosedPnl] = []
    unreadable: list[UnreadableRow] = []
    earlier: set[ClosedPnl] = set()
    pages: set[tuple[ClosedPnl, ...]] = set()
    fetched = 0
    shared = False
    async for page in gateway.closed_pnl(window.start_ms, window.end_ms - 1, symbol=symbol, rank=rank):
        fetched += len(page.rows) + len(page.unreadable)
        whole = tuple(page.rows)
        if whole and whole in pages:
            continue  # the same page under another cursor
        pages.add(whole)
        shared = shared or not earlier.isdisjoint(whole)
        earlier.update(whole)
        rows += (row for row in whole if window.start_ms <= row.created_ms < window.end_ms)
        unreadable += page.unreadable
    return rows, unreadable, fetched, shared
