"""The table of return codes, and the pauses between tries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpha.bybit.policy import Backoff, Kind, kind_of_code, kind_of_status

CODES = [
    (0, Kind.OK),
    (110043, Kind.OK),
    (110025, Kind.OK),
    (34040, Kind.OK),
    (10006, Kind.LIMITED),
    (10002, Kind.CLOCK),
    (-1, Kind.CLOCK),
    (429, Kind.DOUBTFUL),
    (10000, Kind.DOUBTFUL),
    (10016, Kind.DOUBTFUL),
    (170146, Kind.DOUBTFUL),
    (110079, Kind.BUSY),
    (10003, Kind.HALT),
    (10004, Kind.HALT),
    (10005, Kind.HALT),
    (10010, Kind.HALT),
    (33004, Kind.HALT),
    (110072, Kind.DUPLICATE),
    (110017, Kind.NOTHING_TO_CLOSE),
    (110001, Kind.GONE),
    (110008, Kind.GONE),
    (10018, Kind.BANNED),
    (10001, Kind.REFUSED),
    (110007, Kind.REFUSED),
    (110094, Kind.REFUSED),
    (987654, Kind.REFUSED),
]


@pytest.mark.parametrize(("code", "kind"), CODES)
def test_a_return_code_means_what_the_reference_says(code: int, kind: Kind) -> None:
    assert kind_of_code(code) is kind


def test_what_demo_does_not_have_is_a_gap_and_no_fault() -> None:
    assert kind_of_code(10032, "Demo trading are not supported.") is Kind.UNSUPPORTED


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (403, Kind.BANNED),
        (401, Kind.HALT),
        (429, Kind.BUSY),
        (404, Kind.REFUSED),
        (400, Kind.REFUSED),
        (500, Kind.DOUBTFUL),
        (502, Kind.DOUBTFUL),
        (504, Kind.DOUBTFUL),
        (302, Kind.DOUBTFUL),
    ],
)
def test_a_status_means_what_the_reference_says(status: int, kind: Kind) -> None:
    assert kind_of_status(status) is kind


@given(st.integers(1, 60), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_never_zero_and_never_above_its_limit(attempt: int, draw: float) -> None:
    backoff = Backoff(first_s=0.25, most_s=5.0)
    assert 0.125 <= backoff.pause_s(attempt, draw) <= 5.0


def test_pauses_double_until_the_limit() -> None:
    backoff = Backoff(first_s=1.0, most_s=5.0)
    assert [backoff.pause_s(attempt, 0.0) for attempt in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 2.5]
