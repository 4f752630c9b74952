"""Bars for Momentum's tests."""

import numpy as np

from alpha.strategy.bars import Bars
from strategies.momentum.strategy import INTERVAL_MS

START_MS = 1_700_000_000_000 // INTERVAL_MS * INTERVAL_MS


def random_bars(seed: int, count: int, symbol: str = "BTCUSDT") -> Bars:
    """A random walk of 4-hour bars with quiet stretches and bursts of volume."""
    draw = np.random.default_rng(seed)
    mood = np.repeat(draw.choice([0.004, 0.03], count // 20 + 1, p=[0.7, 0.3]), 20)[:count]
    close = np.round(100.0 * np.exp(np.cumsum(draw.normal(0.0005, mood))), 3)
    opened = np.concatenate(([100.0], close[:-1]))
    high = np.round(np.maximum(opened, close) * 1.002, 3)
    low = np.round(np.minimum(opened, close) * 0.998, 3)
    volume = np.round(1000.0 * np.exp(draw.normal(0, 0.9, count)), 2)
    return Bars(symbol, INTERVAL_MS, START_MS + np.arange(count) * INTERVAL_MS, opened, high, low, close, volume)
