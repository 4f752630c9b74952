"""Bars for LXAlgo's tests."""

import numpy as np

from alpha.strategy.bars import Bars
from strategies.lxalgo.strategy import INTERVAL_MS

START_MS = 1_700_000_000_000 // 86_400_000 * 86_400_000


def random_bars(seed: int, count: int, symbol: str = "XUSDT") -> Bars:
    """A random walk of 5-minute bars with pumps in it."""
    draw = np.random.default_rng(seed)
    steps = draw.normal(0.0, 0.003, count)
    for place in draw.choice(count, max(1, count // 200), replace=False).tolist():
        steps[place : place + 8] += 0.012
    close = np.round(10.0 * np.exp(np.cumsum(steps)), 4)
    opened = np.concatenate(([10.0], close[:-1]))
    high = np.round(np.maximum(opened, close) * (1 + np.abs(draw.normal(0, 0.002, count))), 4)
    low = np.round(np.minimum(opened, close) * (1 - np.abs(draw.normal(0, 0.002, count))), 4)
    volume = np.where(draw.random(count) < 0.02, 0.0, np.round(5000.0 * np.exp(draw.normal(0, 1, count)), 1))
    return Bars(symbol, INTERVAL_MS, START_MS + np.arange(count) * INTERVAL_MS, opened, high, low, close, volume)
