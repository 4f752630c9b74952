"""Histories are read completely: windows without gaps, cursors without cycles, bad rows not lost."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpha.bybit.errors import Busy
from alpha.bybit.fields import Fields
from alpha.bybit.pagination import WINDOW_MS, Page, follow, read_page, windows


@given(st.integers(0, 10**13), st.integers(-1, 10**11))
def test_windows_cover_the_range_once_and_are_seven_days_at_most(start: int, length: int) -> None:
    cut = list(windows(start, start + length))
    if length < 0:
        assert cut == []
        return
    assert cut[0][0] == start
    assert cut[-1][1] == start + length
    assert all(right - left <= WINDOW_MS for left, right in cut)
    assert all(after[0] == before[1] + 1 for before, after in itertools.pairwise(cut))


class Pages:
    """Answers a fetch from a list of (rows, next cursor) by cursor, and counts."""

    def __init__(self, by_cursor: dict[str, tuple[list[int], str]]) -> None:
        self.by_cursor = by_cursor
        self.fetched: list[str] = []

    async def fetch(self, cursor: str) -> Page[int]:
        self.fetched.append(cursor)
        rows, following = self.by_cursor[cursor]
        return Page(rows, [], following)

    async def read(self) -> list[int]:
        return [row async for page in follow(self.fetch) for row in page.rows]


async def test_pages_are_followed_to_the_empty_cursor() -> None:
    pages = Pages({"": ([1, 2], "b"), "b": ([3], "")})
    assert await pages.read() == [1, 2, 3]


async def test_a_full_last_page_with_a_cursor_ends_at_the_empty_page_after_it() -> None:
    pages = Pages({"": ([1, 2], "b"), "b": ([], "")})
    assert await pages.read() == [1, 2]


async def test_an_empty_page_with_a_cursor_does_not_end_a_history_early() -> None:
    pages = Pages({"": ([1], "b"), "b": ([], "c"), "c": ([2], "")})
    assert await pages.read() == [1, 2]


async def test_empty_pages_without_end_are_an_end() -> None:
    pages = Pages({"": ([1], "b"), "b": ([], "c"), "c": ([], "d"), "d": ([], "e")})
    assert await pages.read() == [1]


async def test_an_empty_page_that_points_to_itself_is_an_end() -> None:
    assert await Pages({"": ([1], "b"), "b": ([], "b")}).read() == [1]


async def test_a_cursor_that_comes_twice_is_an_error_and_no_end() -> None:
    pages = Pages({"": ([1], "b"), "b": ([2], "c"), "c": ([3], "b")})
    with pytest.raises(Busy):
        await pages.read()
    assert pages.fetched == ["", "b", "c"]


def test_a_row_that_cannot_be_read_is_kept_beside_the_others() -> None:
    page = read_page({"list": [{"n": 1}, {"n": "x"}, {"n": 3}], "nextPageCursor": "c"}, _number)
    assert page.rows == [1, 3]
    assert [fault.row for fault in page.unreadable] == [{"n": "x"}]
    assert page.cursor == "c"


@pytest.mark.parametrize("result", [None, [], {}, {"list": None}, {"list": {}}, {"list": [], "nextPageCursor": 5}])
def test_what_is_no_page_is_asked_for_again(result: object) -> None:
    with pytest.raises(Busy):
        read_page(result, _number)


def _number(row: object) -> int:
    return Fields("number", row).integer("n")
