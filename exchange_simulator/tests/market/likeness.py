"""Statistics of the stylised facts, and a table comparing generated with recorded candles.

python -m exchange_simulator.tests.market.likeness [--seed 7] [--five DIR] [--four DIR]

`--five` is a folder of recorded five-minute candles, `--four` one of four-hour candles; without them only generated
candles are shown.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exchange_simulator.market import GeneratedMarket, Market, open_folder
from exchange_simulator.market.model import DAY_MS

Floats = NDArray[np.float64]
START = 1_767_225_600_000  # 2026-01-01
MAJORS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


def candles(market: Market, symbol: str, interval: str, from_ms: int, to_ms: int) -> Floats:
    """Candles as an array with the columns of `Bar`."""
    return np.array(market.candles(symbol, interval, from_ms, to_ms), dtype=np.float64)


def returns(bars: Floats) -> Floats:
    """Log returns from close to close."""
    return np.diff(np.log(bars[:, 4]))


def kurtosis(values: Floats) -> float:
    """Fourth standardised moment; 3 for a normal distribution."""
    return float(((values - values.mean()) ** 4).mean() / values.var() ** 2)


def autocorrelation(values: Floats, lag: int) -> float:
    """Correlation of a series with itself at lag `lag`."""
    return float(np.corrcoef(values[:-lag], values[lag:])[0, 1])


def breakouts(bars: Floats) -> list[int]:
    """Bars that close above Bollinger bands (20, 2) narrower than in 65 % of the previous 89 bars,
    on twice the volume.
    """
    close, volume = bars[:, 4], bars[:, 5]
    windows = np.lib.stride_tricks.sliding_window_view(close, 20)
    middle, deviation = windows.mean(axis=1), windows.std(axis=1, ddof=1)
    width, upper = 4 * deviation / middle, middle + 2 * deviation
    found = []
    for place in range(120, len(bars)):
        band = place - 19
        narrow = (width[band - 89 : band] < width[band]).mean() < 0.35
        busy = volume[place] > 2 * volume[place - 20 : place].mean()
        if narrow and busy and close[place] > upper[band]:
            found.append(place)
    return found


def _five(market: Market, from_ms: int, to_ms: int) -> list[str]:
    lines, moves = [], []
    for symbol in MAJORS:
        series = returns(candles(market, symbol, "5", from_ms, to_ms))
        size = np.abs(series)
        moves.append(series)
        lines.append(
            f"{symbol:8} volatility a day {series.std() * np.sqrt(288):.2%}, kurtosis {kurtosis(series):.0f}, "
            f"autocorrelation {autocorrelation(series, 1):.2f}, of absolute returns after 1, 12, 288 bars "
            + ", ".join(f"{autocorrelation(size, lag):.2f}" for lag in (1, 12, 288))
        )
    return [*lines, f"correlation of BTC and ETH {float(np.corrcoef(moves[0], moves[1])[0, 1]):.2f}"]


def _four(market: Market, symbols: Iterable[str], from_ms: int, to_ms: int) -> str:
    found = days = 0.0
    for symbol in symbols:
        bars = candles(market, symbol, "240", from_ms, to_ms)
        found += len(breakouts(bars))
        days += (len(bars) - 120) / 6
    return f"breakouts from quiet, on volume: {found / days:.3f} a symbol and day"


def main(argv: list[str]) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--five", type=Path)
    parser.add_argument("--four", type=Path)
    asked = parser.parse_args(argv)
    made = GeneratedMarket(asked.seed)
    lines = [f"made, seed {asked.seed}", *_five(made, START, START + 60 * DAY_MS)]
    lines.append(_four(made, made.instruments, START - 20 * DAY_MS, START + 180 * DAY_MS))
    if asked.five:
        recorded = open_folder(asked.five, symbols=MAJORS)
        lines += ["recorded", *_five(recorded, recorded.first_ms, recorded.end_ms or 0)]
    if asked.four:
        recorded = open_folder(asked.four)
        lines += ["recorded", _four(recorded, recorded.instruments, recorded.first_ms, recorded.end_ms or 0)]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
