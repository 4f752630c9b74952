"""The table of return codes, and the pauses between attempts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpha.bybit.retry_policy import BAN_S, ErrorKind, kind_of_code, kind_of_status, remedy_of
from alpha.clock import Backoff

#: Every code of the table, and some that are not in it.
CODES = {
    ErrorKind.OK: (0, 110025, 110026, 110027, 110043, 34040),
    ErrorKind.BUSY: (10019, 10429, 110079, 170005, 170222, 170191, 170212, 170035, 20003),
    ErrorKind.LIMITED: (10006,),
    ErrorKind.CLOCK: (-1, 10002),
    ErrorKind.UNKNOWN_OUTCOME: (429, 10000, 10016, 500000, 170001, 170007, 170032, 170146, 170147, 170234),
    ErrorKind.ORDER_NOT_FOUND: (110001, 110008, 110010, 170139, 170142, 170190, 170213, 170143),
    ErrorKind.NOTHING_TO_CLOSE: (110017,),
    ErrorKind.SESSION_CLOSED: (110065,),
    ErrorKind.DUPLICATE: (110072, 170141, 10014),
    ErrorKind.KEY_REFUSED: (10003, 10004, 10005, 10007, 10008, 10009, 10010, 10024, 10027, 33004, -2015),
    ErrorKind.BANNED: (10018, 10403),
    ErrorKind.REFUSED: (10001, 110007, 110094, 987654),
}
#: Codes of refused keys to a word of what the operator is told.
REMEDIES = {
    10003: "wrong", 10004: "signature", 10005: "permission", 10007: "not recognised", 10008: "banned", 10009: "region",
    10010: "IP addresses", 10024: "compliance", 10027: "forbidden", 33004: "expired", -2015: "expired",
    12345: "look at the key",
}  # fmt: skip


@pytest.mark.parametrize(("code", "kind"), [(code, kind) for kind, codes in CODES.items() for code in codes])
def test_a_return_code_means_what_the_reference_says(code: int, kind: ErrorKind) -> None:
    assert kind_of_code(code) is kind


def test_what_demo_does_not_have_is_a_gap_and_no_fault() -> None:
    assert kind_of_code(10032, "Demo trading are not supported.") is ErrorKind.UNSUPPORTED
    assert kind_of_code(10032, "demo trading") is ErrorKind.REFUSED
    assert kind_of_code(10032, "not supported") is ErrorKind.REFUSED


@pytest.mark.parametrize(("code", "word"), REMEDIES.items())
def test_a_refused_key_is_told_with_what_to_do(code: int, word: str) -> None:
    assert word in remedy_of(code)


def test_a_ban_lasts_ten_minutes() -> None:
    assert BAN_S == 600


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (403, ErrorKind.BANNED),
        (401, ErrorKind.KEY_REFUSED),
        (429, ErrorKind.BUSY),
        (404, ErrorKind.REFUSED),
        (400, ErrorKind.REFUSED),
        (399, ErrorKind.UNKNOWN_OUTCOME),
        (402, ErrorKind.REFUSED),
        (428, ErrorKind.REFUSED),
        (430, ErrorKind.REFUSED),
        (499, ErrorKind.REFUSED),
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
