"""One-minute candles inside larger bars: the order in which a bar met its prices, where a folder has them.

They lie in `DATA/1m`, files as those of the bars. A bar of which a minute is missing, or whose minutes are not its own high and low, is
walked as ever: open, first extreme, second extreme, close.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from alpha.errors import Misconfigured
from alpha.strategy.bars import Bars
from backtester.candle_files import read_folder, symbols_of
from backtester.prepared import BarPrices

FOLDER = "1m"
MINUTE_MS = 60_000
#: A time within the bar, and the price of each symbol that has one then.
Step = tuple[int, dict[str, float]]


def read_minutes(folder: Path, bars: Mapping[str, Bars]) -> dict[str, Bars]:
    """The minutes of these symbols that the folder has; empty where it has none, and for bars of a minute."""
    inside = folder / FOLDER
    interval_ms = next(iter(bars.values())).interval_ms
    if not inside.is_dir() or interval_ms <= MINUTE_MS:
        return {}
    names = [symbol for symbol in symbols_of(inside) if symbol in bars]
    if not names:
        return {}
    left_out: list[str] = []
    found = read_folder(inside, names, left_out=left_out)
    if any(one.interval_ms != MINUTE_MS for one in found.values()):
        raise Misconfigured(f"{inside} must hold candles of one minute.")
    return found


class MinuteWalk:
    """The way of prices through one bar, minute by minute."""

    def __init__(self, minutes: Mapping[str, Bars], interval_ms: int, *, low_first: bool) -> None:
        self._minutes = minutes
        self._interval_ms = interval_ms
        self._low_first = low_first
        #: How many bars were walked so.
        self.bars = 0

    def steps(self, start_ms: int, prices: BarPrices, symbols: Iterable[str]) -> list[Step] | None:
        """The steps after the bar's open, in order of time; None where no symbol has its minutes."""
        found: dict[int, dict[str, float]] = {}
        finer = False
        for symbol in symbols:
            way = self._of(symbol, start_ms, prices)
            finer |= way is not None
            for offset, price in way or self._coarse(symbol, prices):
                found.setdefault(offset, {})[symbol] = price
        if not finer:
            return None
        self.bars += 1
        return sorted(found.items())

    def _coarse(self, symbol: str, prices: BarPrices) -> list[tuple[int, float]]:
        first, second = (prices.low, prices.high) if self._low_first else (prices.high, prices.low)
        length = self._interval_ms
        points = (first[symbol], second[symbol], prices.close[symbol])
        return list(zip((length // 3, length * 2 // 3, length - 1), points, strict=True))

    def _of(self, symbol: str, start_ms: int, prices: BarPrices) -> list[tuple[int, float]] | None:
        bars = self._minutes.get(symbol)
        if bars is None:
            return None
        count = self._interval_ms // MINUTE_MS
        first = int(np.searchsorted(bars.start_ms, start_ms))
        if first + count > len(bars) or bars.start_ms.item(first) != start_ms:
            return None
        part = slice(first, first + count)
        if bars.start_ms.item(first + count - 1) != start_ms + self._interval_ms - MINUTE_MS:
            return None
        lows, highs = bars.low[part], bars.high[part]
        if float(lows.min()) != prices.low[symbol] or float(highs.max()) != prices.high[symbol]:
            return None
        opens, closes = bars.open[part], bars.close[part]
        way: list[tuple[int, float]] = []
        for number in range(count):
            at = number * MINUTE_MS
            low, high = lows.item(number), highs.item(number)
            first_extreme, second_extreme = (low, high) if self._low_first else (high, low)
            if number:
                way.append((at, opens.item(number)))
            way += [(at + MINUTE_MS // 3, first_extreme), (at + MINUTE_MS * 2 // 3, second_extreme)]
            way.append((at + MINUTE_MS - 1, closes.item(number)))
        return way
