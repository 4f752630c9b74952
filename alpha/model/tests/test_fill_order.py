"""The one order of fills: within a match, over pages, and of rows that come twice."""

from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpha.model.fill_order import chunks, fill_rank, oldest_first, take_next, unit_key

D = Decimal
_ONE = D(1)


@dataclass(frozen=True)
class Row:
    """A fill, as far as its order goes."""

    exec_id: str
    closed_size: Decimal | None = None
    qty: Decimal = _ONE
    symbol: str = "BTCUSDT"
    exec_time_ms: int = 1_000
    seq: int | None = 7


@pytest.mark.parametrize(("closed", "rank"), [(D("2.0"), 0), (D(1), 1), (None, 2), (D(0), 3), (D("0.000"), 3)])
def test_what_closes_comes_before_what_opens(closed: Decimal | None, rank: int) -> None:
    assert fill_rank(closed, D(2)) == rank


def test_a_match_is_sorted_by_what_its_fills_close_and_then_by_id_bytewise() -> None:
    rows = [
        *(Row("z", D(1)), Row("~", D("0.5")), Row("Z"), Row("a"), Row("é"), Row("0", D(0)), Row("1", D(0))),
    ]
    for shuffled in (rows[::-1], rows[3:] + rows[:3]):
        assert sorted(shuffled, key=unit_key) == rows
        assert oldest_first(shuffled) == rows


def _closes(held: Decimal, fill: Row) -> Decimal | None:
    return None if fill.exec_id == "funding" else min(held, fill.qty)


def test_the_next_fill_is_the_first_that_fits_the_position() -> None:
    too_much, fits, opens = Row("a", D(3), D(3)), Row("b", D(2), D(4)), Row("c", D(0))
    unit = [too_much, fits, opens]
    assert take_next(unit, partial(_closes, D(2))) is fits
    assert unit == [too_much, opens]
    assert take_next(unit, partial(_closes, D(0))) is opens
    assert take_next(unit, partial(_closes, D(1))) is too_much, "none fits: the first"


def test_a_row_that_tells_nothing_or_changes_nothing_fits_always() -> None:
    wrong, silent, funding = Row("a", D(1)), Row("b"), Row("funding", D(0))
    assert take_next([wrong, silent], partial(_closes, D(0))) is silent
    assert take_next([wrong, funding], partial(_closes, D(0))) is funding


@given(st.lists(st.integers(0, 5), max_size=30).map(sorted), st.integers(1, 6))
def test_no_page_ends_inside_a_match(units: list[int], size: int) -> None:
    pages = list(chunks(units, size, lambda unit: unit))
    assert [unit for page in pages for unit in page] == units
    assert all(page for page in pages)
    assert all(before[-1] != after[0] for before, after in pairwise(pages))
    # a page is only longer than asked for by the rest of its last match
    assert all(page[size - 1] == page[-1] for page in pages if len(page) > size)


def test_rows_that_come_twice_are_one_and_time_and_number_come_first() -> None:
    rows = [
        Row("d", D(0), exec_time_ms=1),
        Row("c", None, exec_time_ms=2, seq=None),
        Row("b", D(0), exec_time_ms=2, seq=1),
        Row("a", D(1), exec_time_ms=2, seq=2),
        Row("a", D(1), exec_time_ms=3, seq=1, symbol="ETHUSDT"),
    ]
    for shuffled in permutations(rows):
        assert oldest_first([*shuffled, *shuffled]) == rows
