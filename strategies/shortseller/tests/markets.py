"""Bars for ShortSeller's tests."""

import numpy as np

from alpha.strategy.bars import Bars, BarView, Series
from strategies.shortseller.strategy import FAST, INTERVAL_MS, SLOW

START_MS = 1_743_465_600_000  # 2025-04-01 00:00 UTC


def random_bars(seed: int, count: int, symbol: str = "BTCUSDT") -> Bars:
    """A random walk of 5-minute bars."""
    draw = np.random.default_rng(seed)
    close = np.round(60_000.0 * np.exp(np.cumsum(draw.normal(0.0, 0.001, count))), 1)
    opened = np.concatenate(([60_000.0], close[:-1]))
    high, low = np.maximum(opened, close) + 5.0, np.minimum(opened, close) - 5.0
    starts = START_MS + np.arange(count) * INTERVAL_MS
    return Bars(symbol, INTERVAL_MS, starts, opened, high, low, close, np.ones(count))


def two_bars(
    before: tuple[float, float, float],
    now: tuple[float, float, float],
    symbol: str = "BTCUSDT",
    start_ms: int = START_MS,
) -> BarView:
    """The second of two bars; each is given as (close, fast average, slow average)."""
    close, fast, slow = (np.array(column) for column in zip(before, now, strict=True))
    starts = np.array([start_ms - INTERVAL_MS, start_ms])
    bars = Bars(symbol, INTERVAL_MS, starts, close, close, close, close, np.ones(2))
    return Series.of(bars, {FAST: fast, SLOW: slow}).view(1)
