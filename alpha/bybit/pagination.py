"""Windows and pages of Bybit's histories: at most seven days per window, a cursor from page to page."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Generic, TypeVar

from msgspec import Struct

from alpha.bybit.errors import Busy, UnreadableRow

#: A window is at most seven days; one millisecond less keeps clear of the edge.
WINDOW_MS = 7 * 24 * 3_600_000 - 1
#: Bybit ends a list with an empty cursor or an empty page. An empty page with a cursor is followed this many
#: times, so that a page that is empty by mistake does not end a history early.
EMPTY_PAGES_FOLLOWED = 2

T = TypeVar("T")


class Page(Struct, Generic[T], frozen=True):
    """One page: its rows in Bybit's order, and the unreadable rows, which must not be lost."""

    rows: list[T]
    unreadable: list[UnreadableRow]
    cursor: str


def windows(start_ms: int, end_ms: int, width_ms: int = WINDOW_MS) -> Iterator[tuple[int, int]]:
    """[start, end] cut into inclusive pieces of at most `width_ms`, oldest first; nothing when start is after end."""
    left = start_ms
    while left <= end_ms:
        right = min(left + width_ms, end_ms)
        yield left, right
        left = right + 1


def read_page(result: object, parse: Callable[[object], T]) -> Page[T]:
    """One page of `result.list`. Raises Busy when `result` is not a page."""
    if not isinstance(result, dict) or not isinstance(result.get("list"), list):
        raise Busy("Bybit answered with something that is not a page of rows. Retry.")
    cursor = result.get("nextPageCursor") or ""
    if not isinstance(cursor, str):
        raise Busy("Bybit answered with a cursor that is not a string. Retry.")
    rows: list[T] = []
    unreadable: list[UnreadableRow] = []
    for raw in result["list"]:
        try:
            rows.append(parse(raw))
        except UnreadableRow as fault:
            unreadable.append(fault)
    return Page(rows, unreadable, cursor)


async def follow(fetch: Callable[[str], Awaitable[Page[T]]]) -> AsyncIterator[Page[T]]:
    """All pages of one window; `fetch` receives a cursor ("" for the first page).

    Raises Busy when the cursors form a cycle: the window was not read completely.
    """
    cursor = ""
    seen: set[str] = set()
    empty = 0
    while True:
        page = await fetch(cursor)
        yield page
        if page.rows or page.unreadable:
            empty = 0
        else:
            empty += 1
        if not page.cursor or empty > EMPTY_PAGES_FOLLOWED:
            return
        if page.cursor in seen:
            if empty:
                return
            raise Busy("Bybit's pages run in a circle: a cursor came twice. This window was not read to its end.")
        seen.add(page.cursor)
        cursor = page.cursor
