"""Candles as a panel of features and labels, and the live replay that finds what holds the future."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alpha.errors import Misconfigured
from alpha.model.timestamp import at
from alpha.scoring.features import FeatureSet
from alpha.scoring.flow import Flow
from alpha.scoring.labels import Label, outcomes
from alpha.strategy.bars import Bars
from alpha.timeframes import Columns

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Panel:
    """Rows of all symbols, ordered by time and then by symbol; all arrays have one entry per row.

    `bar` is the number of the bar on the common grid, `symbol` the place in `symbols`, `net` the net return of the trade
    decided there, `ends` the bar in which that trade ended. `opens` and `closes` are prices by symbol on the grid (bars x symbols).
    """

    symbols: tuple[str, ...]
    first_ms: int
    interval_ms: int
    bar: Ints
    symbol: Ints
    rows: NDArray[np.float32]
    net: Floats
    ends: Ints
    closes: Floats

    def __len__(self) -> int:
        return len(self.bar)

    def time_ms(self, bar: int) -> int:
        """Start of a bar."""
        return self.first_ms + bar * self.interval_ms


def columns_of(bars: Bars) -> Columns:
    """The bars as the columns that features are computed from."""
    return Columns(bars.start_ms, bars.open, bars.high, bars.low, bars.close, bars.volume)


def part(columns: Columns, start: int, stop: int) -> Columns:
    """The candles number `start` to `stop`, exclusive."""
    span = slice(start, stop)
    return Columns(
        columns.start_ms[span],
        columns.open[span],
        columns.high[span],
        columns.low[span],
        columns.close[span],
        columns.volume[span],
    )


def check_interval(data: Mapping[str, Bars], features: FeatureSet) -> None:
    """Raise Misconfigured unless the candles are of the features' interval."""
    for bars in data.values():
        if bars.interval_ms != features.interval_ms:
            raise Misconfigured(
                f"The candles of {bars.symbol} are {bars.interval_ms // 60_000} minutes long and the model's interval is "
                f"{features.interval}: give a folder with the right candles."
            )


def build_panel(
    data: Mapping[str, Bars], features: FeatureSet, label: Label, flow: Mapping[str, Flow] | None = None
) -> Panel:
    """The rows at which every feature and the label have a value. Misconfigured when there are too few.

    `flow` is the order flow by symbol, for features from ticks: a bar that was not recorded whole has no row.
    """
    symbols = tuple(sorted(data))
    first_ms = min(int(bars.start_ms[0]) for bars in data.values())
    end = max((int(bars.start_ms[-1]) - first_ms) // features.interval_ms + 1 for bars in data.values())
    closes = np.full((end, len(symbols)), np.nan)
    parts: list[tuple[Ints, Ints, NDArray[np.float32], Floats, Ints]] = []
    for place, symbol in enumerate(symbols):
        bars = data[symbol]
        columns = columns_of(bars)
        rows = features.compute(columns, None if flow is None else flow[symbol])
        found = outcomes(columns, label)
        number = (bars.start_ms - first_ms) // features.interval_ms
        closes[number, place] = bars.close
        known = ~np.isnan(rows).any(axis=1) & ~np.isnan(found.net)
        ends = number[np.maximum(found.exit_index, 0)]
        parts.append((number[known], np.full(int(known.sum()), place), rows[known], found.net[known], ends[known]))
    bar, symbol_of, rows, net, ends = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    order = np.lexsort((symbol_of, bar))
    if len(order) < 500:
        raise Misconfigured(
            f"Only {len(order)} bars have every feature and a label; at least 500 are needed. Give a longer history "
            f"(the features need {features.history} bars before their first value"
            f"{', and ticks that were recorded whole' if features.tick_features else ''})."
        )
    return Panel(
        symbols,
        first_ms,
        features.interval_ms,
        bar[order],
        symbol_of[order],
        rows[order],
        net[order],
        ends[order],
        closes,
    )


def replay_live(
    data: Mapping[str, Bars], features: FeatureSet, *, bars: int, seed: int, flow: Mapping[str, Flow] | None = None
) -> None:
    """Compute `bars` random rows of each symbol from nothing but what a bot has at that bar: the same bits must come out.

    Misconfigured names the feature that holds the future, or needs more bars than it says.
    """
    draw = np.random.default_rng(seed)
    need = features.history
    for symbol in sorted(data):
        columns = columns_of(data[symbol])
        own = None if flow is None else flow[symbol]
        whole = features.compute(columns, own)
        count = len(columns.close)
        if count <= need + 1:
            continue
        places = np.sort(draw.choice(np.arange(need, count), min(bars, count - need), replace=False))
        for place in places.tolist():
            live = _at(features, columns, own, place + 1 - need, place + 1)
            changed = np.flatnonzero(live.view(np.uint32) != whole[place].view(np.uint32)).tolist()
            wrong = [column for column in changed if not (np.isnan(live[column]) and np.isnan(whole[place, column]))]
            if not wrong:
                continue
            name = features.names[wrong[0]]
            past = _at(features, columns, own, 0, place + 1)[wrong[0]]
            leaks = past != whole[place, wrong[0]] and not (np.isnan(past) and np.isnan(whole[place, wrong[0]]))
            why = (
                "It holds the future: it must use closed candles only."
                if leaks
                else f"It needs more than the {need} bars it says: a bot would send something else."
            )
            raise Misconfigured(
                f"The feature {name} of {symbol} at the bar of {at(int(columns.start_ms[place])):%Y-%m-%d %H:%M} UTC is "
                f"{whole[place, wrong[0]]:.7g} in the training data and {live[wrong[0]]:.7g} live. {why}"
            )


def _at(features: FeatureSet, columns: Columns, flow: Flow | None, start: int, stop: int) -> NDArray[np.float32]:
    """The features of bar `stop` - 1 from the bars since `start` alone."""
    rows = features.compute(part(columns, start, stop), None if flow is None else flow.span(start, stop))
    last: NDArray[np.float32] = rows[-1]
    return last
