"""Coverage is exact: the read and the missing ranges make up the wanted one without overlap."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_sync_service.domain.coverage import WINDOW_MS, Interval, cut, merged, missing, plan
from trade_sync_service.progress import BarProgress

moments = st.integers(0, 200)
spans = st.tuples(moments, moments).map(lambda pair: Interval(*sorted(pair)))


def _points(some: list[Interval]) -> set[int]:
    return {point for span in some for point in range(span.start_ms, span.end_ms)}


@given(st.lists(spans, max_size=12))
def test_merging_keeps_every_point_and_joins_neighbours(some: list[Interval]) -> None:
    joined = merged(some)
    assert _points(joined) == _points(some)
    assert all(before.end_ms < after.start_ms for before, after in itertools.pairwise(joined))
    assert all(span.length_ms > 0 for span in joined)


@given(spans, st.lists(spans, max_size=12))
def test_what_is_missing_and_what_is_covered_make_up_what_is_wanted(wanted: Interval, covered: list[Interval]) -> None:
    gaps = missing(wanted, covered)
    assert _points(gaps) == _points([wanted]) - _points(covered)
    assert gaps == merged(gaps)


@given(spans, st.integers(1, 50))
def test_a_span_is_cut_without_gap_and_newest_first(span: Interval, width: int) -> None:
    pieces = cut(span, width)
    assert all(0 < piece.length_ms <= width for piece in pieces)
    assert sum(piece.length_ms for piece in pieces) == max(0, span.length_ms)
    assert _points(pieces) == _points([span])
    assert pieces == sorted(pieces, reverse=True)


@given(spans, st.lists(spans, max_size=12), st.integers(0, 60))
def test_a_plan_reads_what_is_missing_and_the_overlap_and_nothing_else(
    wanted: Interval, covered: list[Interval], overlap: int
) -> None:
    planned = plan(wanted, covered, overlap)
    again = Interval(max(wanted.start_ms, wanted.end_ms - overlap), wanted.end_ms)
    assert _points(planned) == _points(missing(wanted, covered)) | _points([again])
    assert sum(window.length_ms for window in planned) == len(_points(planned))


def test_a_window_is_seven_days_at_most() -> None:
    assert WINDOW_MS == 7 * 24 * 3_600 * 1_000
    whole = Interval(0, 3 * WINDOW_MS + 5)
    assert [window.length_ms for window in cut(whole)] == [WINDOW_MS] * 3 + [5]


def test_a_bar_goes_as_far_as_windows_were_read(capsys: pytest.CaptureFixture[str]) -> None:
    with BarProgress() as bars:
        bars.plan("shortseller_001", 2)
        bars.plan("lxalgo_001", 1)
        for start in (0, 1):
            bars.window("shortseller_001", Interval(start, start + 1), 100)
    assert "shortseller_001" in (shown := capsys.readouterr().out)
    assert "2/2" in shown
    assert "0/1" in shown
    assert "200 rows" in shown
