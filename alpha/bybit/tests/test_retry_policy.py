"""The table of return codes, and the pauses between attempts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpha.bybit.retry_policy import ErrorKind, kind_of_code, kind_of_status
from alpha.clock import Backoff

CODES = [
    (0, ErrorKind.OK),
    (110043, ErrorKind.OK),
    (110025, ErrorKind.OK),
    (34040, ErrorKind.OK),
    (10006, ErrorKind.LIMITED),
    (10002, ErrorKind.CLOCK),
    (-1, ErrorKind.CLOCK),
    (429, ErrorKind.UNKNOWN_OUTCOME),
    (10000, ErrorKind.UNKNOWN_OUTCOME),
    (10016, ErrorKind.UNKNOWN_OUTCOME),
    (170146, ErrorKind.UNKNOWN_OUTCOME),
    (110079, ErrorKind.BUSY),
    (10003, ErrorKind.KEY_REFUSED),
    (10004, ErrorKind.KEY_REFUSED),
    (10005, ErrorKind.KEY_REFUSED),
    (10010, ErrorKind.KEY_REFUSED),
    (33004, ErrorKind.KEY_REFUSED),
    (110072, ErrorKind.DUPLICATE),
    (110017, ErrorKind.NOTHING_TO_CLOSE),
    (110001, ErrorKind.ORDER_NOT_FOUND),
    (110008, ErrorKind.ORDER_NOT_FOUND),
    (10018, ErrorKind.BANNED),
    (10001, ErrorKind.REFUSED),
    (110007, ErrorKind.REFUSED),
    (110094, ErrorKind.REFUSED),
    (987654, ErrorKind.REFUSED),
]


@pytest.mark.parametrize(("code", "kind"), CODES)
def test_a_return_code_means_what_the_reference_says(code: int, kind: ErrorKind) -> None:
    assert kind_of_code(code) is kind


def test_what_demo_does_not_have_is_a_gap_and_no_fault() -> None:
    assert kind_of_code(10032, "Demo trading are not supported.") is ErrorKind.UNSUPPORTED


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (403, ErrorKind.BANNED),
        (401, ErrorKind.KEY_REFUSED),
        (429, ErrorKind.BUSY),
        (404, ErrorKind.REFUSED),
        (400, ErrorKind.REFUSED),
        (500, ErrorKind.UNKNOWN_OUTCOME),
        (502, ErrorKind.UNKNOWN_OUTCOME),
        (504, ErrorKind.UNKNOWN_OUTCOME),
        (302, ErrorKind.UNKNOWN_OUTCOME),
    ],
)
def test_a_status_means_what_the_reference_says(status: int, kind: ErrorKind) -> None:
    assert kind_of_status(status) is kind


@given(st.integers(1, 60), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_never_zero_and_never_above_its_limit(attempt: int, draw: float) -> None:
    backoff = Backoff(first_s=0.25, most_s=5.0)
    assert 0.125 <= backoff.pause_s(attempt, draw) <= 5.0


def test_pauses_double_until_the_limit() -> None:
    backoff = Backoff(first_s=1.0, most_s=5.0)
    assert [backoff.pause_s(attempt, 0.0) for attempt in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 2.5]
