"""Each indicator against its textbook formula, written out naively."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpha.indicators import (
    Floats,
    adx,
    bollinger,
    change_pct,
    deviation,
    ema,
    relative_volume,
    rsi,
    share_below,
    sma,
)
from alpha.indicators.tests.test_window_is_whole import walk

DAY = 86_400_000
prices = st.integers(0, 2**32 - 1).map(lambda seed: walk(seed, 400))


def smoothed(values: list[float], weight: float, seed: float) -> list[float]:
    result = []
    for value in values:
        seed += weight * (value - seed)
        result.append(seed)
    return result


@settings(max_examples=20, deadline=None)
@given(prices)
def test_averages_and_deviations_are_those_of_the_statistics_module(close: Floats) -> None:
    window = close[31:51].tolist()
    assert math.isclose(sma(close, 20)[50], statistics.fmean(window), rel_tol=1e-13)
    assert math.isclose(deviation(close, 20)[50], statistics.stdev(window), rel_tol=1e-9)
    bands = bollinger(close, 20, 2.0)
    assert math.isclose(bands.upper[50], statistics.fmean(window) + 2 * statistics.stdev(window), rel_tol=1e-12)
    assert math.isclose(bands.width[50], 4 * statistics.stdev(window) / statistics.fmean(window), rel_tol=1e-9)


@settings(max_examples=20, deadline=None)
@given(prices)
def test_an_average_that_began_long_ago_agrees_with_the_anchored_one(close: Floats) -> None:
    whole = smoothed(close.tolist(), 2 / 11, close[0])
    ours = ema(close, 10, 0, DAY)
    spread = close.max() - close.min()
    for place in range(60, 400, 17):
        assert abs(ours[place] - whole[place]) <= 5e-5 * spread


@settings(max_examples=20, deadline=None)
@given(prices)
def test_rsi_is_wilders(close: Floats) -> None:
    moves = np.diff(close).tolist()
    gains = smoothed([max(move, 0.0) for move in moves], 1 / 10, 0.0)
    losses = smoothed([max(-move, 0.0) for move in moves], 1 / 10, 0.0)
    ours = rsi(close, 10, 0, DAY)
    for place in range(150, 400, 13):
        strength = gains[place - 1] / losses[place - 1]
        assert abs(ours[place] - (100 - 100 / (1 + strength))) < 0.1


@settings(max_examples=10, deadline=None)
@given(prices)
def test_adx_is_wilders(close: Floats) -> None:
    high, low = close * 1.01, close * 0.985
    plus, minus, span = [], [], []
    for now in range(1, 400):
        up, down = high[now] - high[now - 1], low[now - 1] - low[now]
        plus.append(up if up > down and up > 0 else 0.0)
        minus.append(down if down > up and down > 0 else 0.0)
        span.append(max(high[now] - low[now], abs(high[now] - close[now - 1]), abs(low[now] - close[now - 1])))
    smooth = [smoothed(part, 1 / 14, part[0]) for part in (plus, minus, span)]
    directional = [
        100 * abs(p / s - m / s) / (p / s + m / s) if p + m else 0.0 for p, m, s in zip(*smooth, strict=True)
    ]
    expected = smoothed(directional, 1 / 14, directional[0])
    ours = adx(high, low, close, 14, 0, DAY)
    assert abs(ours[399] - expected[398]) < 0.1
    assert np.isnan(ours[:280]).all()


def test_only_widths_strictly_below_count() -> None:
    values = np.array([1.0, 2.0, 2.0, 3.0, 2.0])
    assert share_below(values, 4)[4] == 0.25


def test_relative_volume_leaves_its_own_bar_out_of_the_mean() -> None:
    assert relative_volume(np.array([1.0, 3.0, 10.0]), 2)[2] == 5.0


def test_a_figure_over_nothing_is_unknown_and_not_infinite() -> None:
    zeros = np.zeros(30)
    assert np.isnan(relative_volume(zeros, 5)).all()
    assert np.isnan(change_pct(zeros, 5)).all()


def test_a_market_that_did_not_move_has_an_rsi_of_fifty() -> None:
    assert rsi(np.full(400, 7.0), 10, 0, DAY)[-1] == 50.0


def test_a_market_that_only_rose_has_an_rsi_of_one_hundred() -> None:
    assert rsi(np.arange(1.0, 401.0), 10, 0, DAY)[-1] == 100.0


@pytest.mark.parametrize("n", [0, -1])
def test_a_window_of_nothing_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match="at least one value"):
        sma(np.ones(3), n)
