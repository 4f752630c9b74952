"""Order flow per bar, from the ticks that were recorded. A bar of which anything is missing has none: never zero.

The functions that read ticks are those of `tick_recorder.read`, and are passed in.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alpha.errors import Misconfigured
from alpha.model.timestamp import at
from alpha.scoring.flow import Flow
from alpha.strategy.bars import Bars

Ints = NDArray[np.int64]
_DAY_MS, _HOUR_MS = 86_400_000, 3_600_000
#: A row that came this long after its bar's end was fetched later: there was a hole when the bar ended.
FETCHED_LATER_MS = 5_000
TRADES, QUOTES = "trades", "bbo"


@dataclass(frozen=True, slots=True)
class Ticks:
    """A folder of ticks. `rows(folder, kind, symbol, start, end)` and `gaps(folder, symbol, kind, start, end)` give frames."""

    folder: Path
    rows: Callable[[Path, str, str, datetime, datetime], pl.DataFrame]
    gaps: Callable[[Path, str, str, datetime, datetime], pl.DataFrame]


def order_flow(ticks: Ticks, bars: Bars, kinds: tuple[str, ...] = (TRADES, QUOTES)) -> Flow:
    """The order flow of each bar. Misconfigured when nothing of one of `kinds` was recorded in the time of the bars.

    A row counts in the bar of its exchange time if it was received by the bar's end, or came with an archive.
    """
    count = len(bars.start_ms)
    missing = np.full(count, np.nan)
    bought = sold = trades = spread = missing
    if TRADES in kinds:
        bought, sold, trades = np.zeros(count), np.zeros(count), np.zeros(count)
        known = _Known(bars, TRADES)
        for frame in _chunks(ticks, bars, TRADES):
            bar, chosen = known.take(frame)
            # block trades are agreed on outside of the order book
            chosen &= ~frame["block"].fill_null(value=False).to_numpy()
            size = frame["size"].cast(pl.Float64).to_numpy()
            buys = (frame["side"] == "Buy").to_numpy()
            bought += _sums(bar, chosen & buys, size, count)
            sold += _sums(bar, chosen & ~buys, size, count)
            trades += _sums(bar, chosen, np.ones(len(bar)), count)
        whole = known.whole(ticks)
        bought, sold, trades = (np.where(whole, values, np.nan) for values in (bought, sold, trades))
    if QUOTES in kinds:
        total, quotes = np.zeros(count), np.zeros(count)
        known = _Known(bars, QUOTES)
        for frame in _chunks(ticks, bars, QUOTES):
            bar, chosen = known.take(frame)
            bid, ask = (frame[f"{side}_price"].cast(pl.Float64).to_numpy() for side in ("bid", "ask"))
            with np.errstate(invalid="ignore"):
                chosen &= ask >= bid  # false where a side has no order
            total += _sums(bar, chosen, (ask - bid) / ((ask + bid) / 2) * 10_000, count)
            quotes += _sums(bar, chosen, np.ones(len(bar)), count)
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = np.where(known.whole(ticks) & (quotes > 0), total / quotes, np.nan)
    return Flow(bought, sold, trades, spread)


def flow_hash(flow: Flow) -> str:
    """Names this order flow, beside the hash of the candles."""
    content = hashlib.sha256()
    for values in (flow.bought, flow.sold, flow.trades, flow.spread):
        content.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
    return content.hexdigest()


class _Known:
    """Which bars were recorded whole, of one kind."""

    def __init__(self, bars: Bars, kind: str) -> None:
        self._bars, self._kind = bars, kind
        self._ends: Ints = bars.start_ms + bars.interval_ms
        self._late = np.zeros(len(bars.start_ms), dtype=bool)
        self._hours: set[int] = set()
        self._first: int | None = None
        self._last = 0

    def take(self, frame: pl.DataFrame) -> tuple[Ints, NDArray[np.bool_]]:
        """The bar of each row, and whether the row lies in a bar and was known at its end."""
        bars = self._bars
        times = frame["ts"].dt.timestamp("ms").to_numpy()
        if not len(times):
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool)
        bar = np.maximum(np.searchsorted(bars.start_ms, times, side="right") - 1, 0)
        inside = (times >= bars.start_ms[bar]) & (times < self._ends[bar])
        came = frame["received"].dt.timestamp("ms").fill_null(0).to_numpy()
        on_time = inside & (came <= self._ends[bar])
        self._late[bar[inside & (came > self._ends[bar] + FETCHED_LATER_MS)]] = True
        # nothing of these was known: a clock that is wrong, or rows that were fetched later
        self._late[np.setdiff1d(bar[inside], bar[on_time])] = True
        self._hours.update(np.unique(times // _HOUR_MS).tolist())
        self._first = int(times[0]) if self._first is None else self._first
        self._last = int(times[-1])
        return bar, on_time

    def whole(self, ticks: Ticks) -> NDArray[np.bool_]:
        """Which bars lie between recorded rows, in no gap, with a row in each hour and none that was fetched later."""
        bars = self._bars
        if self._first is None:
            raise Misconfigured(
                f"No {self._kind} of {bars.symbol} from {_day(int(bars.start_ms[0]))} to {_day(int(self._ends[-1]))} are in "
                f"{ticks.folder}: record them, or train without features from ticks."
            )
        found: NDArray[np.bool_] = (bars.start_ms >= self._first) & (self._ends <= self._last + 1) & ~self._late
        hours = np.array(sorted(self._hours), dtype=np.int64)
        wanted = (self._ends - 1) // _HOUR_MS - bars.start_ms // _HOUR_MS + 1
        inside = np.searchsorted(hours, (self._ends - 1) // _HOUR_MS, side="right") - np.searchsorted(
            hours, bars.start_ms // _HOUR_MS
        )
        found &= inside == wanted
        gaps = ticks.gaps(ticks.folder, bars.symbol, self._kind, at(int(bars.start_ms[0])), at(int(self._ends[-1])))
        begins = gaps["ts"].dt.timestamp("ms").to_list()
        for begun, until in zip(begins, gaps["until"].dt.timestamp("ms").to_list(), strict=True):
            found &= ~((self._ends > begun) & (bars.start_ms < (np.iinfo(np.int64).max if until is None else until)))
        return found


def _chunks(ticks: Ticks, bars: Bars, kind: str) -> Iterator[pl.DataFrame]:
    """The rows in the time of the bars, about a day at a time, and those of an hour on both sides: recording went on there."""
    step, count = max(1, _DAY_MS // bars.interval_ms), len(bars.start_ms)
    for first in range(0, count, step):
        last = min(first + step, count) - 1
        start = int(bars.start_ms[first]) - (_HOUR_MS if first == 0 else 0)
        end = int(bars.start_ms[last]) + bars.interval_ms + (_HOUR_MS if last == count - 1 else 0)
        yield ticks.rows(ticks.folder, kind, bars.symbol, at(start), at(end))


def _sums(bar: Ints, chosen: NDArray[np.bool_], values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    return np.bincount(bar[chosen], weights=values[chosen], minlength=count).astype(np.float64)


def _day(ms: int) -> str:
    return f"{at(ms):%Y-%m-%d %H:%M}"
