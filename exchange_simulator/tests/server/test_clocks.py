"""Which timestamps are accepted when business time runs faster than the wall clock."""

import pytest

from exchange_simulator.engine.model import Refused
from exchange_simulator.rest.clocks import Clocks

START_MS = 1_700_000_000_000
WALL_MS = 1_800_000_000_000


class Fast:
    """A key's clocks on an exchange at a given speed; the test moves the wall clock."""

    def __init__(self, speed: float | None) -> None:
        self.wall = WALL_MS
        self.business = START_MS
        self.speed = speed
        self.skew = 0
        self.clocks = Clocks(lambda: self.business, lambda: self.wall, lambda: self.speed, lambda: self.skew)

    def pass_ms(self, wall_ms: int) -> None:
        self.wall += wall_ms
        self.business += int(wall_ms * (self.speed or 1))

    def measure(self) -> int:
        """A client's clock offset after it has requested the server time."""
        self.clocks.show()
        return self.business - self.wall

    def code(self, stamp_ms: int, key: str = "key", window: str = "5000") -> int:
        try:
            self.clocks.bind(key, self.clocks.check(key, str(stamp_ms), window))
        except Refused as refusal:
            return refusal.code
        return 0


def test_a_client_that_measured_the_time_once_is_accepted_for_ever_at_speed_sixty() -> None:
    fast = Fast(60.0)
    fast.pass_ms(700)
    offset = fast.measure()
    fast.pass_ms(2_000)
    for _ in range(50):
        fast.pass_ms(10_000)
        assert fast.code(fast.wall + offset) == 0


def test_a_key_is_held_to_the_window_of_its_own_clock() -> None:
    fast = Fast(60.0)
    offset = fast.measure()
    fast.pass_ms(60_000)
    assert fast.code(fast.wall + offset) == 0
    own = fast.wall + offset
    assert [fast.code(own + ms) for ms in (-5_000, -5_001, 999, 1_000)] == [0, 10002, 0, 10002]
    assert fast.code(own - 5_001, window="6000") == 0


def test_the_first_request_of_a_client_that_measured_it_elsewhere_binds_the_key() -> None:
    fast = Fast(60.0)
    offset = fast.business - fast.wall
    fast.pass_ms(30_000)
    assert fast.code(fast.wall + offset + 1) == 0
    assert fast.code(fast.wall + offset + 400_000) == 10002, "bound, and never asked for the time again"


def test_two_clients_of_one_key_each_keep_their_own_measurement() -> None:
    fast = Fast(60.0)
    first = fast.measure()
    assert fast.code(fast.wall + first) == 0
    fast.pass_ms(60_000)
    second = fast.measure()
    fast.pass_ms(60_000)
    for _ in range(3):
        assert fast.code(fast.wall + first) == 0
        assert fast.code(fast.wall + second) == 0
        assert fast.code(fast.wall) == 0


def test_a_time_that_the_exchange_never_had_is_refused() -> None:
    fast = Fast(60.0)
    fast.pass_ms(1_000)
    assert fast.code(START_MS - 60_000) == 10002
    assert fast.code(START_MS + 3_600_000) == 10002


@pytest.mark.parametrize("speed", [1.0, None])
def test_at_speed_one_and_in_step_clock_the_window_is_the_exchanges_own(speed: float | None) -> None:
    fast = Fast(speed)
    offset = fast.measure()
    if speed is None:
        fast.business += 60_000  # time moved by steps
        assert fast.code(fast.wall + offset) == 10002
    assert [fast.code(fast.wall + ms) for ms in (-5_000, -5_001, 999, 1_000)] == [0, 10002, 0, 10002]
    assert [fast.code(fast.business + ms) for ms in (-5_000, -5_001, 999, 1_000)] == [0, 10002, 0, 10002]


def test_the_refusal_names_the_clock_that_came_nearest() -> None:
    fast = Fast(60.0)
    offset = fast.measure()
    fast.pass_ms(60_000)
    assert fast.code(fast.wall + offset) == 0
    fast.pass_ms(600_000)
    with pytest.raises(Refused, match=rf"server_timestamp\[{fast.wall + offset}\]"):
        fast.clocks.check("key", str(fast.wall + offset - 6_000), "5000")
    with pytest.raises(Refused, match=rf"server_timestamp\[{fast.wall}\]"):
        fast.clocks.check("key", str(fast.wall - 6_000), "5000")


def test_a_login_signed_with_a_measured_clock_is_in_the_future() -> None:
    fast = Fast(60.0)
    offset = fast.measure()
    fast.pass_ms(60_000)
    assert fast.clocks.in_future("key", fast.wall + offset + 10_000)
    assert not fast.clocks.in_future("key", fast.wall + offset - 10_000)
    assert fast.clocks.in_future("key", fast.wall + 1)
