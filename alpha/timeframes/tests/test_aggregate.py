import numpy as np
import pytest

from alpha.errors import Misconfigured
from alpha.timeframes import Columns, aggregate, frame_ms, frame_start, known_at

MINUTE = 60_000
HOUR = 3_600_000
DAY = 86_400_000
MONDAY = 1_735_516_800_000  # 2024-12-30 00:00 UTC


def candles(count: int, start_ms: int, interval_ms: int, *, without: tuple[int, ...] = ()) -> Columns:
    draw = np.random.default_rng(7)
    places = np.array([place for place in range(count) if place not in without])
    close = np.round(100 + np.cumsum(draw.normal(0, 1, count)), 2)[places]
    opened = np.round(close + draw.normal(0, 0.2, len(close)), 2)
    high, low = np.maximum(opened, close) + 0.5, np.minimum(opened, close) - 0.5
    volume = np.round(draw.uniform(0, 10, len(close)), 3)
    return Columns(start_ms + places.astype(np.int64) * interval_ms, opened, high, low, close, volume)


def test_a_longer_candle_is_made_of_all_its_parts() -> None:
    base = candles(24, MONDAY, 5 * MINUTE)
    joined = aggregate(base, 5 * MINUTE, HOUR)
    assert joined.start_ms.tolist() == [MONDAY, MONDAY + HOUR]
    first = slice(0, 12)
    assert joined.open[0] == base.open[0]
    assert joined.close[0] == base.close[11]
    assert joined.high[0] == base.high[first].max()
    assert joined.low[0] == base.low[first].min()
    assert joined.volume[0] == round(sum(base.volume[first].tolist()), 8)


@pytest.mark.parametrize("missing", [0, 5, 11])
def test_one_with_a_missing_part_does_not_exist(missing: int) -> None:
    joined = aggregate(candles(36, MONDAY, 5 * MINUTE, without=(12 + missing,)), 5 * MINUTE, HOUR)
    assert joined.start_ms.tolist() == [MONDAY, MONDAY + 2 * HOUR]


def test_what_the_data_begin_and_end_inside_of_does_not_exist() -> None:
    joined = aggregate(candles(40, MONDAY + 5 * MINUTE, 5 * MINUTE), 5 * MINUTE, HOUR)
    assert joined.start_ms.tolist() == [MONDAY + HOUR, MONDAY + 2 * HOUR]


def test_weeks_begin_on_monday_and_days_at_midnight() -> None:
    week = 7 * DAY
    assert frame_start(week, MONDAY) == MONDAY
    assert frame_start(week, MONDAY - 1) == MONDAY - week
    assert frame_start(DAY, MONDAY + 5 * HOUR) == MONDAY
    assert aggregate(candles(21, MONDAY - 2 * DAY, DAY), DAY, week).start_ms.tolist() == [MONDAY, MONDAY + week]


def test_a_candle_is_known_from_its_end_on_and_a_missing_one_is_not_replaced_by_an_older() -> None:
    frames = np.array([MONDAY, MONDAY + HOUR, MONDAY + 3 * HOUR])
    ends = MONDAY + np.array([0, HOUR - 1, HOUR, 2 * HOUR - 1, 2 * HOUR, 3 * HOUR, 4 * HOUR])
    assert known_at(ends, frames, HOUR).tolist() == [-1, -1, 0, 0, 1, -1, 2]


def test_without_any_longer_candle_none_is_known() -> None:
    assert known_at(np.array([MONDAY]), np.empty(0, dtype=np.int64), HOUR).tolist() == [-1]


@pytest.mark.parametrize(
    ("interval", "base_ms"), [("7", 5 * MINUTE), ("5", 5 * MINUTE), ("15", HOUR), ("15", 10 * MINUTE)]
)
def test_a_timeframe_that_is_no_longer_multiple_of_the_base_is_refused(interval: str, base_ms: int) -> None:
    with pytest.raises(Misconfigured):
        frame_ms(interval, base_ms)
