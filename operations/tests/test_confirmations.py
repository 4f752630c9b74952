"""Confirmations, press by press."""

import itertools

import pytest

from operations.confirmations import Confirmations, Pressed

MINUTE_MS = 60_000
NOW_MS = 1_000_000


def asked() -> tuple[Confirmations, str]:
    """One action that waits."""
    confirmations = Confirmations()
    return confirmations, confirmations.ask(7, "chat", "panic", ("all",), "attempt-1", NOW_MS)


@pytest.mark.parametrize(
    ("answer", "pressed"), [("yes", Pressed.YES), ("no", Pressed.NO), ("", Pressed.NO), ("yes!", Pressed.NO)]
)
def test_a_press_within_the_minute_returns_the_action_once(answer: str, pressed: Pressed) -> None:
    confirmations, token = asked()
    found, pending = confirmations.press(token, answer, 7, "chat", NOW_MS + MINUTE_MS - 1)
    assert found is pressed
    assert pending is not None
    assert (pending.person, pending.place, pending.command, pending.words) == (7, "chat", "panic", ("all",))
    assert (pending.attempt, pending.expires_ms) == ("attempt-1", NOW_MS + MINUTE_MS)
    assert confirmations.press(token, answer, 7, "chat", NOW_MS) == (Pressed.USED, None)


@pytest.mark.parametrize("later_ms", [MINUTE_MS, MINUTE_MS + 1])
def test_a_minute_later_it_has_expired(later_ms: int) -> None:
    confirmations, token = asked()
    found, pending = confirmations.press(token, "yes", 7, "chat", NOW_MS + later_ms)
    assert found is Pressed.EXPIRED
    assert pending is not None
    assert confirmations.peek(token) is None


@pytest.mark.parametrize(("person", "place"), [(8, "chat"), (6, "chat"), (7, "another"), (7, "zoo"), (8, "zoo")])
def test_others_cannot_press_it_nor_use_it_up(person: int, place: str) -> None:
    confirmations, token = asked()
    assert confirmations.press(token, "yes", person, place, NOW_MS) == (Pressed.OTHERS, None)
    assert confirmations.press(token, "yes", 7, "chat", NOW_MS)[0] is Pressed.YES


def test_a_person_and_a_place_are_the_same_by_their_value() -> None:
    confirmations = Confirmations()
    token = confirmations.ask(int("1000000007"), ("chat", int("1000000008")), "panic", (), "a", NOW_MS)
    place = ("chat", int("1000000008"))
    assert confirmations.press(token, "yes", int("1000000007"), place, NOW_MS)[0] is Pressed.YES


def test_its_minute_begins_when_it_is_shown() -> None:
    confirmations, token = asked()
    confirmations.shown(token, NOW_MS + 30_000)
    confirmations.shown("unknown", NOW_MS)
    pending = confirmations.peek(token)
    assert pending is not None
    assert (pending.expires_ms, pending.attempt) == (NOW_MS + 30_000 + MINUTE_MS, "attempt-1")
    assert confirmations.press(token, "yes", 7, "chat", NOW_MS + 30_000 + MINUTE_MS - 1)[0] is Pressed.YES


def test_one_that_was_never_pressed_is_forgotten_a_minute_after_its_end() -> None:
    for later_ms, there in ((2 * MINUTE_MS - 1, True), (2 * MINUTE_MS, False), (9 * MINUTE_MS, False)):
        confirmations, token = asked()
        confirmations.ask(7, "chat", "stop", (), "attempt-2", NOW_MS + later_ms)
        assert (confirmations.peek(token) is not None) is there


def test_of_more_than_five_hundred_the_oldest_go() -> None:
    numbers = itertools.count()
    confirmations = Confirmations(lambda: str(next(numbers)))
    for number in range(502):
        assert confirmations.ask(7, "chat", "stop", (), "a", NOW_MS) == str(number)
        assert confirmations.peek(str(number)) is not None
        assert (confirmations.peek(str(number - 500)) is None) or number < 500
        assert confirmations.peek(str(max(0, number - 499))) is not None


def test_tokens_are_unguessable_and_fit_into_a_button() -> None:
    tokens = {asked()[1] for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {16}
