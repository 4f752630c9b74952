"""What is odd in a folder of candles: holes, outliers, bars without volume, when coins came and went."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from alpha.strategy.bars import Bars
from backtester.candle_files import read_file, symbols_of
from backtester.candles import end_ms, first_ms, gaps
from exchange_simulator.candle_files import candle_files

_SPREADS = 20.0  # a move of so many median moves
_LEAST_MOVE = 0.15  # and of this share of the price


@dataclass(slots=True)
class Checked:
    """One symbol. Times are UTC milliseconds; `outliers` are (start, move as a fraction)."""

    symbol: str
    interval_ms: int
    candles: int
    from_ms: int
    to_ms: int
    holes: list[tuple[int, int]] = field(default_factory=list)
    missing: int = 0
    outliers: list[tuple[int, float]] = field(default_factory=list)
    silent: int = 0
    listed_later: bool = False
    ended_earlier: bool = False


def check_folder(folder: Path) -> list[Checked]:
    """All symbols of a folder, in alphabetical order. Misconfigured for a file that cannot be read."""
    paths = candle_files(folder)
    found = [check_bars(read_file(paths[symbol], symbol, gaps=True)) for symbol in symbols_of(folder)]
    first, last = min(one.from_ms for one in found), max(one.to_ms for one in found)
    for one in found:
        one.listed_later = one.from_ms > first
        one.ended_earlier = one.to_ms < last
    return found


def check_bars(bars: Bars) -> Checked:
    """One symbol's oddities."""
    holes = gaps(bars)
    moves = np.abs(np.diff(np.log(bars.close)))
    middle = float(np.median(moves)) if len(moves) else 0.0
    # A single candle whose range leaves both neighbours far behind is an error of the archive more often than a market.
    reach = np.maximum(bars.high / np.maximum(bars.open, bars.close), np.minimum(bars.open, bars.close) / bars.low) - 1
    far = np.zeros(len(bars), dtype=np.bool_)
    far[1:] = moves > max(_SPREADS * middle, _LEAST_MOVE)
    far |= reach > max(2 * _SPREADS * middle, 2 * _LEAST_MOVE)
    sizes = np.concatenate(([0.0], np.exp(np.diff(np.log(bars.close))) - 1))
    return Checked(
        bars.symbol,
        bars.interval_ms,
        len(bars),
        first_ms(bars),
        end_ms(bars),
        holes,
        sum((after - before) // bars.interval_ms - 1 for before, after in holes),
        [(int(bars.start_ms[place]), float(sizes[place])) for place in np.flatnonzero(far)],
        int((bars.volume == 0).sum()),
    )
