from datetime import UTC, datetime, timedelta

from alpha.model.timestamp import ms_of
from demo.line_scheduler import HEARD_S, LONGEST_S, LineScheduler
from demo.timeline import Kind, Line

ONE = datetime(2025, 1, 1, 1, tzinfo=UTC)


def line(minute: int, kind: Kind = Kind.FILL, bot: str = "one") -> Line:
    return Line(ONE + timedelta(minutes=minute), bot, kind, "")


def minutes(told: list[Line]) -> list[int]:
    return [each.moment.minute for each in told]


def test_a_line_waits_until_every_bot_is_past_its_moment_and_has_been_heard() -> None:
    telling = LineScheduler()
    telling.hear([line(10), line(20)], 100.0)
    past = ms_of(ONE + timedelta(minutes=15))
    assert telling.due(100.0 + HEARD_S / 2, past) == []
    assert minutes(telling.due(100.0 + HEARD_S, past)) == [10]
    assert telling.due(100.0 + HEARD_S, past) == []


def test_where_nobody_knows_how_far_the_bots_are_it_waits_as_long_as_it_must_and_no_longer() -> None:
    telling = LineScheduler()
    telling.hear([line(10)], 100.0)
    assert telling.due(100.0 + HEARD_S, None) == []
    assert minutes(telling.due(100.0 + LONGEST_S, None)) == [10]


def test_what_belongs_before_a_line_goes_with_it_however_late_it_was_heard() -> None:
    telling = LineScheduler()
    telling.hear([line(10), line(30)], 100.0)
    telling.hear([line(5), line(10, Kind.SIGNAL), line(20)], 101.9)
    told = telling.due(102.0, None)
    assert minutes(told) == [5, 10, 10, 20, 30]
    assert [each.kind for each in told][1:3] == [Kind.SIGNAL, Kind.FILL]


def test_the_rest_is_told_in_the_order_of_the_market() -> None:
    telling = LineScheduler()
    telling.hear([line(10), line(5)], 100.0)
    assert minutes(telling.rest()) == [5, 10]
    assert telling.rest() == []
