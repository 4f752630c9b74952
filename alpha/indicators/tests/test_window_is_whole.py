"""The value at a bar has the same bits whether computed over all history or over the bars it needs."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from alpha.indicators import (
    DAY_MS,
    Floats,
    adx,
    adx_history,
    bars_of_history,
    bollinger,
    change_pct,
    completed_days,
    deviation,
    ema,
    ema_warm_up,
    relative_volume,
    rolling_sum,
    rsi,
    rsi_history,
    share_below,
    sma,
    wilder,
    wilder_warm_up,
)

HOUR = 3_600_000
START = 1_700_000_000_000 // (4 * HOUR) * (4 * HOUR)


def walk(seed: int, length: int) -> Floats:
    steps = np.random.default_rng(seed).normal(0.0, 0.02, length)
    return np.asarray(np.round(100.0 * np.exp(np.cumsum(steps)), 4), dtype=np.float64)


def same_bits(left: Floats, right: Floats) -> bool:
    return left.tobytes() == right.tobytes()


def newest_alone(figure: Callable[[Floats, int], Floats], values: Floats, need: int, interval: int) -> Floats:
    """The indicator at every bar from only the `need` bars up to it; NaN where there are fewer."""
    result = np.full(len(values), np.nan)
    for end in range(need, len(values) + 1):
        first = end - need
        result[end - 1] = figure(values[first:end].copy(), START + first * interval)[-1]
    return result


WINDOWED: dict[str, tuple[Callable[[Floats], Floats], int]] = {
    "sum": (lambda x: rolling_sum(x, 7), 7),
    "sma": (lambda x: sma(x, 20), 20),
    "deviation": (lambda x: deviation(x, 20), 20),
    "share below": (lambda x: share_below(x, 9), 10),
    "change": (lambda x: change_pct(x, 12), 13),
    "relative volume": (lambda x: relative_volume(x, 20), 21),
    "band width": (lambda x: bollinger(x, 20, 2.0).width, 20),
    "upper band": (lambda x: bollinger(x, 20, 2.0).upper, 20),
    "width percentile": (lambda x: share_below(bollinger(x, 20, 2.0).width, 29), 49),
}


@pytest.mark.parametrize("name", WINDOWED)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(1, 120))
def test_a_windowed_figure_depends_on_its_window_alone(name: str, seed: int, length: int) -> None:
    figure, need = WINDOWED[name]
    values = walk(seed, length)
    whole = figure(values)
    alone = newest_alone(lambda part, _: figure(part), values, need, HOUR)
    assert np.isnan(whole[: need - 1]).all()
    assert same_bits(whole[need - 1 :], alone[need - 1 :])


ANCHORED: dict[str, tuple[Callable[[Floats, int], Floats], int]] = {
    "ema": (lambda x, first: ema(x, 5, first, 4 * HOUR), bars_of_history(ema_warm_up(5), 4 * HOUR)),
    "wilder": (lambda x, first: wilder(x, 3, first, 4 * HOUR), bars_of_history(wilder_warm_up(3), 4 * HOUR)),
    "rsi": (lambda x, first: rsi(x, 4, first, 4 * HOUR), rsi_history(4, 4 * HOUR)),
    "adx": (lambda x, first: adx(x * 1.01, x * 0.98, x, 3, first, 4 * HOUR), adx_history(3, 4 * HOUR)),
}


@pytest.mark.parametrize("name", ANCHORED)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(60, 160))
def test_an_anchored_figure_depends_on_its_history_alone(name: str, seed: int, length: int) -> None:
    figure, need = ANCHORED[name]
    values = walk(seed, length)
    whole = figure(values, START)
    alone = newest_alone(figure, values, need, 4 * HOUR)
    full = ~np.isnan(alone)
    assert full[need - 1 :].all()
    assert same_bits(whole[full], alone[full])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(0, 40), name=st.sampled_from(sorted(ANCHORED)))
def test_where_the_data_begin_leaves_no_trace(seed: int, cut: int, name: str) -> None:
    figure, _ = ANCHORED[name]
    values = walk(seed, 160)
    whole, later = figure(values, START), figure(values[cut:].copy(), START + cut * 4 * HOUR)
    known = ~np.isnan(later)
    assert known.any()
    assert same_bits(whole[cut:][known], later[known])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(1, 159), name=st.sampled_from(sorted(ANCHORED)))
def test_later_bars_change_no_earlier_value(seed: int, cut: int, name: str) -> None:
    figure, _ = ANCHORED[name]
    values = walk(seed, 160)
    assert same_bits(figure(values, START)[:cut], figure(values[:cut].copy(), START))


def test_days_are_known_at_the_close_of_their_last_bar() -> None:
    bars = 6 * 3 + 4
    first = START // DAY_MS * DAY_MS + 8 * HOUR
    close = np.arange(bars, dtype=np.float64)
    days = completed_days(close + 0.5, close - 0.5, close, first, 4 * HOUR)
    assert days.first_ms == first // DAY_MS * DAY_MS + DAY_MS
    assert days.close.tolist() == [9.0, 15.0, 21.0]
    assert days.high.tolist() == [9.5, 15.5, 21.5]
    assert days.low.tolist() == [3.5, 9.5, 15.5]
    expected: NDArray[np.int64] = np.array([-1] * 9 + [0] * 6 + [1] * 6 + [2])
    assert days.known.tolist() == expected.tolist()
