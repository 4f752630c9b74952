"""A stream without data is replaced ever more rarely, until data comes."""

from alpha.bybit.silence import MOST_S, SETTLED_S, Silence

FIRST_S = 30.0


class Market:
    """A connection and its data, second by second."""

    def __init__(self) -> None:
        self.now_s = self.data_s = 1_000.0
        self.silence = Silence(FIRST_S, self.now_s)

    def lasting(self) -> bool:
        """Whether it is known as silent."""
        return self.silence.lasting

    def seconds(self, count: int, *, data: bool = False, snapshot: bool = False) -> list[float]:
        """Run on; how long after the begin it was replaced each time. With `snapshot` a new connection begins with data."""
        begin_s, replaced = self.now_s, []
        for _ in range(count):
            self.now_s += 1.0
            if data:
                self.data_s = self.now_s
            if self.silence.too_long(self.now_s, self.data_s):
                replaced.append(self.now_s - begin_s)
                self.now_s += 1.0
                self.silence.connected(self.now_s)
                if snapshot:
                    self.data_s = self.now_s + 0.5
        return replaced


def test_it_is_replaced_ever_more_rarely() -> None:
    for snapshot in (False, True):
        replaced = Market().seconds(4_000, snapshot=snapshot)
        waits = [round(later - earlier) for earlier, later in zip([0.0, *replaced], replaced, strict=False)]
        # a second for the new connection, and one because exactly the limit is not too long
        assert [wait - 2 for wait in waits[1:]] == [60, 120, 240, 480, *[MOST_S] * (len(waits) - 5)]
        assert waits[0] == FIRST_S + 1
        assert len(waits) > 6


def test_data_begins_it_anew_and_a_first_snapshot_does_not() -> None:
    market = Market()
    assert not market.lasting()
    assert len(market.seconds(100)) == 2
    assert market.lasting()
    market.data_s = market.silence.connected_s + SETTLED_S
    market.now_s = market.data_s
    assert market.seconds(1) == []
    assert market.lasting(), "that was its snapshot"
    market.data_s += 0.1
    assert market.seconds(1) == []
    assert not market.lasting()
    assert market.seconds(100, data=True) == []
    replaced = market.seconds(100)
    assert [round(replaced[0]), round(replaced[1] - replaced[0])] == [31, 62]


def test_what_comes_now_and_then_is_no_silence() -> None:
    market = Market()
    for _ in range(100):
        assert market.seconds(int(FIRST_S) - 1) == []
        market.seconds(1, data=True)
    assert not market.lasting()
