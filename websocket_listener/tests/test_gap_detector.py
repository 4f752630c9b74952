"""What an audit found and the stream has not brought: late, or lost?"""

from websocket_listener.gap_detector import GapDetector
from websocket_listener.tests.rows import execution


def missed(*pushed: str) -> GapDetector:
    """One that waits two seconds; these were pushed."""
    return GapDetector(lambda symbol, exec_id: exec_id in pushed, wait_s=2.0)


def test_what_is_pushed_a_moment_later_was_late_and_what_is_not_was_lost() -> None:
    found = missed("late")
    found.found([execution(execId="late"), execution(execId="lost"), execution(execId="lost-too")], 10.0)
    assert found.lost(11.9) == []
    assert found.lost(12.0) == ["BTCUSDT", "BTCUSDT"]
    assert not found.waits
    assert found.lost(99.0) == [], "each is told once"


def test_reading_it_again_does_not_put_off_the_judgement() -> None:
    found = missed()
    for now_s in (10.0, 11.0, 12.0):
        found.found([execution()], now_s)
    assert found.lost(12.0) == ["BTCUSDT"]


def test_a_known_gap_explains_what_was_not_pushed() -> None:
    found = missed()
    found.found([execution()], 10.0)
    found.forget()
    assert found.lost(99.0) == []


def test_only_fills_are_promised_on_the_stream() -> None:
    found = missed()
    found.found([execution(execType="Funding"), execution(orderId="", execType="Settle")], 10.0)
    assert not found.waits
