"""A stretch of time read in windows, several at once, taken in order.

Pages of a window come one after another, so a slow line would keep one reader far below the request budget. While the
caller stores one window the next ones go on being read; so many may stand finished and no more, which bounds memory.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable

from alpha.bybit.pagination import WINDOW_MS
from alpha.model.execution import Execution

#: A window is read whole before its oldest row is stored; so many rows fit into memory without notice.
MOST_ROWS = 5_000
#: So many windows are read at once, and so many may be read ahead of the one that is stored.
WINDOWS_AT_ONCE = 8
_MOST_AHEAD = 12
#: Executions come in bursts: only so many times what fits is too much at first sight.
_SURELY = 2

#: Reads a window (both ends inclusive, ms): its rows, oldest first, and whether these are all.
ReadWindow = Callable[[int, int], Awaitable[tuple[list[Execution], bool]]]
_Reading = asyncio.Task[tuple[list[Execution], bool]]


class Windows:
    """The windows of one stretch of time. `span_ms` is the first guess of how long one may be."""

    def __init__(self, read: ReadWindow, start_ms: int, end_ms: int, span_ms: int) -> None:
        self._read = read
        self._next_ms = start_ms
        self._end_ms = end_ms
        self._span_ms = span_ms
        self._ahead: deque[tuple[int, int, _Reading]] = deque()

    async def in_order(self) -> AsyncGenerator[tuple[list[Execution], int], None]:
        """All rows, a window at a time, oldest first, with the last instant of each window."""
        try:
            self._refill()
            while self._ahead:
                begin_ms, stop_ms, reading = self._ahead[0]
                found, whole = await reading
                self._ahead.popleft()
                if whole:
                    if len(found) < MOST_ROWS // 8:
                        self._span_ms = min(WINDOW_MS, self._span_ms * 2)
                    self._refill()
                    yield found, stop_ms
                else:
                    self._drop()
                    self._span_ms, self._next_ms = narrower(found, begin_ms, stop_ms), begin_ms
                    self._refill()
        finally:
            self._drop()

    def _refill(self) -> None:
        """Begin as many windows as may be read now; called again whenever one of them is finished."""
        reading = sum(not task.done() for *_, task in self._ahead)
        while self._next_ms <= self._end_ms and reading < WINDOWS_AT_ONCE and len(self._ahead) < _MOST_AHEAD:
            stop_ms = min(self._next_ms + self._span_ms - 1, self._end_ms)
            task: _Reading = asyncio.ensure_future(self._read(self._next_ms, stop_ms))
            self._ahead.append((self._next_ms, stop_ms, task))
            task.add_done_callback(self._finished)
            self._next_ms = stop_ms + 1
            reading += 1

    def _finished(self, task: _Reading) -> None:
        if any(task is known for *_, known in self._ahead) and not task.cancelled() and task.exception() is None:
            self._refill()

    def _drop(self) -> None:
        dropped, self._ahead = self._ahead, deque()
        for *_, task in dropped:
            task.cancel()
            # what became of it does not matter any more
            task.add_done_callback(lambda done: done.cancelled() or done.exception())


def holds_too_much(found: list[Execution], start_ms: int, end_ms: int) -> bool:
    """Whether this window surely holds more than fits, by the newest rows of it that were read so far.

    Told after the first page: a window that is read until it is full and then dropped costs fifty calls.
    """
    if len(found) >= MOST_ROWS:
        return True
    if not found:
        return False
    oldest = min(row.exec_time_ms for row in found)
    return len(found) * (end_ms - start_ms) > _SURELY * MOST_ROWS * max(1, end_ms - oldest)


def narrower(found: list[Execution], start_ms: int, end_ms: int) -> int:
    """A window that should hold half of what fits, by the density of the newest rows that were read."""
    oldest = min(row.exec_time_ms for row in found)
    density = len(found) / max(1, end_ms - oldest)
    return max(1, min((end_ms - start_ms) // 2, int(MOST_ROWS / 2 / density)))
