"""Reading a stretch of time in windows: every row once, in order, whatever the density, and never too much at once."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpha.errors import Retry
from alpha.model.execution import Execution
from websocket_listener.tests.rows import execution
from websocket_listener.windows import MOST_ROWS, WINDOWS_AT_ONCE, Windows, holds_too_much, narrower


def row(time_ms: int) -> Execution:
    """An execution at that time."""
    return execution(execTime=str(time_ms), execId=f"at-{time_ms}")


class Exchange:
    """A history of executions at these times; a window that holds more than `most` is not read to its end."""

    def __init__(self, times: list[int], most: int) -> None:
        self.times = sorted(times)
        self.most = most
        self.reading = self.busiest = self.calls = 0

    async def read(self, start_ms: int, end_ms: int) -> tuple[list[Execution], bool]:
        self.calls += 1
        self.reading += 1
        self.busiest = max(self.busiest, self.reading)
        try:
            # windows finish in another order than they began
            for _ in range(1 + start_ms % 3):
                await asyncio.sleep(0)
            rows = [row(time) for time in self.times if start_ms <= time <= end_ms]
            whole = len(rows) <= self.most or start_ms == end_ms
            return (rows if whole else rows[-self.most :]), whole
        finally:
            self.reading -= 1


@given(times=st.lists(st.integers(1_000, 9_000), max_size=60), most=st.integers(5, 20), span=st.integers(1, 5_000))
async def test_every_row_comes_once_and_in_order(times: list[int], most: int, span: int) -> None:
    exchange = Exchange(times, most)
    ends = []
    found: list[int] = []
    async for rows, stop_ms in Windows(exchange.read, 1_000, 9_000, span).in_order():
        found += [one.exec_time_ms for one in rows]
        ends.append(stop_ms)
        assert all(one.exec_time_ms <= stop_ms for one in rows)
    assert found == sorted(times)
    assert ends[-1] == 9_000
    assert all(first < second for first, second in pairwise(ends))
    assert exchange.busiest <= WINDOWS_AT_ONCE


async def test_while_one_window_is_stored_the_next_ones_are_read() -> None:
    exchange = Exchange([], 1)
    async for _, stop_ms in Windows(exchange.read, 1, 1_000, 10).in_order():
        before = exchange.calls
        for _ in range(20):
            await asyncio.sleep(0)
        if stop_ms == 10:
            # the caller was busy all this time
            assert exchange.calls > before
    assert exchange.reading == 0


async def test_a_fault_in_any_window_is_raised_and_nothing_goes_on_behind_it() -> None:
    async def read(start_ms: int, end_ms: int) -> tuple[list[Execution], bool]:
        await asyncio.sleep(0)
        if start_ms > 50:
            raise Retry("The line is down.")
        return [], True

    with pytest.raises(Retry):
        async for _ in Windows(read, 1, 1_000, 10).in_order():
            pass
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1


def test_a_window_that_is_far_too_dense_is_known_by_its_first_page() -> None:
    page = [row(time) for time in range(9_901, 10_001)]  # one a millisecond
    assert not holds_too_much(page, 10_000 - MOST_ROWS, 10_000)
    assert holds_too_much(page, 10_000 - 3 * MOST_ROWS, 10_000)
    assert narrower(page, 10_000 - 3 * MOST_ROWS, 10_000) == pytest.approx(MOST_ROWS / 2, rel=0.02)


def test_a_window_without_rows_or_of_one_burst_is_judged_too() -> None:
    assert not holds_too_much([], 0, 10_000)
    assert holds_too_much([row(10_000)] * 100, 0, 10_000)
    assert holds_too_much([row(10_000)] * MOST_ROWS, 10_000, 10_000)
