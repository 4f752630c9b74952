from demo.speed_control import SLOWEST, SpeedControl


def test_the_market_slows_down_for_a_bot_that_is_behind_and_recovers() -> None:
    pace = SpeedControl(6_000)
    for _ in range(40):
        pace.next_speed(0.2)
    assert pace.speed == 6_000
    assert pace.next_speed(8.0) < 6_000
    for _ in range(40):
        pace.next_speed(8.0)
    assert pace.speed == SLOWEST


def test_the_speed_asked_for_is_never_exceeded_and_unknown_lag_changes_nothing() -> None:
    pace = SpeedControl(50)
    assert pace.next_speed(0.0) == 50
    assert pace.next_speed(9.0) == 50
    assert pace.next_speed(None) == 50
