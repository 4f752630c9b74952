"""Made markets for which the truth is known: random walks, and one with a weak, planted effect."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from alpha.strategy.bars import Bars

START_MS = 1_735_689_600_000  # 2025-01-01
_DIGITS = 4


def random_walk(
    seed: int, bars: int, symbol: str = "XUSDT", *, interval_ms: int = 300_000, effect: float = 0.0
) -> Bars:
    """Candles of a random walk whose volume is noise.

    With `effect` the drift of the next twelve bars is `effect` times a bar's volatility where the volume of three bars was
    high, and minus that where it was low: weak against the noise, and real.
    """
    draw = np.random.default_rng((seed, bars))
    deviation = 0.0015
    volume = np.exp(draw.normal(0.0, 0.5, bars))
    steps = draw.normal(0.0, deviation, bars)
    if effect:
        log_volume = np.log(volume)
        lean = np.zeros(bars)
        lean[2:] = np.tanh(log_volume[2:] + log_volume[1:-1] + log_volume[:-2])
        drift = np.convolve(lean, np.ones(12) / 12.0)[:bars]
        steps[1:] += effect * deviation * drift[:-1]
    close = np.round(100.0 * np.exp(np.cumsum(steps)), _DIGITS)
    opened = np.concatenate(([100.0], close[:-1]))
    stretch = np.abs(draw.normal(0.0, deviation / 2, (2, bars)))
    high = np.round(np.maximum(opened, close) * (1 + stretch[0]), _DIGITS)
    low = np.round(np.minimum(opened, close) * (1 - stretch[1]), _DIGITS)
    starts = START_MS + np.arange(bars, dtype=np.int64) * interval_ms
    return Bars(symbol, interval_ms, starts, opened, high, low, close, np.round(volume * 100, 3))


def write_folder(folder: Path, series: Iterable[Bars]) -> Path:
    """Write candles as the folder that the back-tester and the simulated exchange read; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    for bars in series:
        columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
        lines = ["start_ms,open,high,low,close,volume"]
        for start, *values in zip(bars.start_ms.tolist(), *(column.tolist() for column in columns), strict=True):
            lines.append(",".join([str(start), *(repr(value) for value in values)]))
        (folder / f"{bars.symbol}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
