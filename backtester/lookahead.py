"""Finding look-ahead: what a strategy computes and decides at a bar must not change with what comes after it.

After bars drawn from a seed everything later is cut off, replaced by noise or shifted; indicators, hints and decisions up
to the bar must stay the same bits. Values computed from the bars that the strategy says it needs must equal those from
all history: a difference means that live, where history begins at the start of the process, it trades something else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np

from alpha.errors import Misconfigured
from alpha.strategy.auxiliary import Column, Rows
from alpha.strategy.bars import Bars, FloatArray, Series
from alpha.strategy.base import BarContext, Strategy, StrategyState
from alpha.strategy.frames import base_history, series_of
from alpha.strategy.intents import Intent
from backtester.candles import COLUMNS, between, column, end_ms, first_ms, moment
from backtester.engine import run
from backtester.market import MarketData
from backtester.prepared import BacktestConfig
from backtester.venue import Costs


@dataclass(frozen=True, slots=True)
class Finding:
    """One dependence on what is not known yet (or on where the data begin): what, in which symbol, at which bar."""

    what: str
    symbol: str
    bar_ms: int
    how: str

    @property
    def text(self) -> str:
        """In a sentence."""
        return f"{self.what} of {self.symbol} at the bar of {moment(self.bar_ms)} {self.how}."


def check(
    make: Callable[[], Strategy[Any, Any]], data: MarketData, *, bars: int = 12, seed: int = 1, span: int = 3_000
) -> list[Finding]:
    """What `bars` random bars of each symbol show, each thing once; empty when nothing was found.

    `make` gives a fresh strategy. Decisions are compared over the last `span` bars. Misconfigured when the data are too
    short to compare anything.
    """
    strategy = make()
    draw = np.random.default_rng(seed)
    found: dict[tuple[str, str], Finding] = {}

    def note(finding: Finding) -> None:
        key = (finding.what, finding.how)
        if key not in found or finding.bar_ms < found[key].bar_ms:
            found[key] = finding

    need = base_history(strategy)
    symbols = [symbol for symbol in (strategy.universe.symbols or data.bars) if symbol in data.bars]
    longest = max((len(data.bars[symbol]) for symbol in symbols), default=0)
    if longest < need + 50:
        raise Misconfigured(
            f"The data hold {longest} bars and the strategy needs {need} before its first value: nothing can be compared. "
            "Give a longer history."
        )
    for symbol in symbols:
        series = data.shown(strategy, symbol)
        if len(series) < need + 50:
            continue
        places = np.sort(
            draw.choice(np.arange(need, len(series) - 2), min(bars, len(series) - need - 2), replace=False)
        )
        whole = _values(strategy, series)
        for place in places.tolist():
            for how, changed in _changes(series, place, draw):
                _compare_values(whole, _values(strategy, changed), series, place, how, note)
            _compare_warm_up(strategy, whole, series, place, need, note)
    _compare_decisions(make, data, symbols, need, bars, span, draw, note)
    return sorted(found.values(), key=lambda finding: (finding.what, finding.bar_ms))


# --- values -----------------------------------------------------------------------------------------------------


def _values(strategy: Strategy[Any, Any], bars: Bars) -> dict[str, FloatArray]:
    """Everything a bar shows, by name, aligned to the base bars; and the hint where an entry is possible."""
    series = series_of(strategy, bars)
    values = {f"the indicator {name!r}": array for name, array in series.indicators.items()}
    for interval, frame in series.frames.items():
        for name in frame.indicators:
            values[f"the indicator {name!r} of timeframe {interval}"] = series.at_frame(interval, name)
    values["may_enter"] = _hint(strategy, series)
    return values


def _hint(strategy: Strategy[Any, Any], series: Series) -> FloatArray:
    return np.asarray(strategy.may_enter(series) & series.ready, dtype=np.float64)


def _changes(series: Bars, place: int, draw: np.random.Generator) -> list[tuple[str, Bars]]:
    """The bars up to `place`, with another future each; what is seen beside them likewise."""
    start_ms = int(series.start_ms[place])
    found = [("changes when later bars are cut off", _beside(between(series, 0, start_ms + 1), start_ms, "cut", draw))]
    for how, bars in (("noise", noisy(series, place, draw)), ("shifted", shifted(series, place))):
        words = "are replaced by noise" if how == "noise" else "are shifted"
        found.append((f"changes when later bars {words}", _beside(bars, start_ms, how, draw)))
    if series.auxiliary is not None:
        alone = _beside(series, start_ms, "noise", draw)
        found.append(
            ("changes when other symbols' later bars and rows that are not known yet are replaced by noise", alone)
        )
    return found


def _beside(bars: Bars, start_ms: int, how: str, draw: np.random.Generator) -> Bars:
    """The same bars, and what is seen beside them with another future after the bar that starts at `start_ms`."""
    auxiliary = bars.auxiliary
    if auxiliary is None:
        return bars
    end_ms = start_ms + bars.interval_ms
    references = {name: _other_future(one, start_ms, how, draw) for name, one in auxiliary.references.items()}
    rows = {
        name: unknown_changed(one, auxiliary.columns[name], end_ms, how, draw) for name, one in auxiliary.rows.items()
    }
    return replace(bars, auxiliary=replace(auxiliary, references=references, rows=rows))


def _other_future(bars: Bars, start_ms: int, how: str, draw: np.random.Generator) -> Bars:
    place = int(np.searchsorted(bars.start_ms, start_ms, side="right")) - 1
    if how == "cut" or place < 0:
        return between(bars, 0, start_ms + 1)
    return noisy(bars, place, draw) if how == "noise" else shifted(bars, place)


def unknown_changed(rows: Rows, column: Column, end_ms: int, how: str, draw: np.random.Generator) -> Rows:
    """The same rows, those that are not known at `end_ms` yet cut off, of another size, or moved by one."""
    first = len(rows.known_by(column, end_ms).time_ms)
    if how == "cut":
        return rows.known_by(column, end_ms)
    values = rows.values.copy()
    later = values[first:]
    values[first:] = later * draw.uniform(2, 3, len(later)) + 1.0 if how == "noise" else np.roll(later, 1) * 1.03 + 0.01
    return replace(rows, values=values)


def noisy(series: Bars, place: int, draw: np.random.Generator, *, keep_open: bool = False) -> Bars:
    """The same bars up to and with `place`; later ones with prices of another market.

    `keep_open`: the first later bar still opens where it did, because orders are carried out there and stops may fire.
    """
    later = len(series) - place - 1
    if later <= 0:
        return series
    factor = np.exp(np.cumsum(draw.normal(0.0, 0.01, later)) + draw.choice([-0.2, 0.2]))
    return _with_future(series, place, lambda name, values: values * (factor if name != "volume" else 1.7), keep_open)


def shifted(series: Bars, place: int, *, keep_open: bool = False) -> Bars:
    """The same bars up to and with `place`; later ones moved by one bar. `keep_open` as for `noisy`."""
    return _with_future(series, place, lambda name, values: np.roll(values, 1) * 1.03, keep_open)


def _with_future(series: Bars, place: int, change: Callable[[str, FloatArray], FloatArray], keep_open: bool) -> Bars:
    columns = {}
    for name in COLUMNS:
        values = column(series, name).copy()
        values[place + 1 :] = [float(f"{value:.8g}") for value in change(name, values[place + 1 :])]
        columns[name] = values
    if keep_open and place + 1 < len(series):
        columns["open"][place + 1] = series.open[place + 1]
    columns["high"] = np.maximum.reduce([columns["high"], columns["open"], columns["close"]])
    columns["low"] = np.minimum.reduce([columns["low"], columns["open"], columns["close"]])
    return Bars(series.symbol, series.interval_ms, series.start_ms, **columns, auxiliary=series.auxiliary)


def _compare_values(
    whole: Mapping[str, FloatArray],
    other: Mapping[str, FloatArray],
    series: Bars,
    place: int,
    how: str,
    note: Callable[[Finding], None],
) -> None:
    for name, values in whole.items():
        left, right = values[: place + 1], other[name][: place + 1]
        different = np.flatnonzero(~((left == right) | (np.isnan(left) & np.isnan(right))))
        if different.size:
            note(Finding(name, series.symbol, int(series.start_ms[different[0]]), how))


def _compare_warm_up(
    strategy: Strategy[Any, Any],
    whole: Mapping[str, FloatArray],
    series: Bars,
    place: int,
    need: int,
    note: Callable[[Finding], None],
) -> None:
    first = place + 1 - need
    start, end = int(series.start_ms[first]), int(series.start_ms[place]) + 1
    short = _values(strategy, between(series, start, end))
    for name, values in whole.items():
        long_value, short_value = values[place], short[name][-1]
        if np.isnan(long_value) or long_value == short_value:
            continue
        how = (
            f"has no value from the {need} bars of `history`"
            if np.isnan(short_value)
            else "depends on where the data begin"
        )
        note(Finding(name, series.symbol, int(series.start_ms[place]), how))


# --- decisions --------------------------------------------------------------------------------------------------


def _compare_decisions(
    make: Callable[[], Strategy[Any, Any]],
    data: MarketData,
    symbols: list[str],
    need: int,
    bars: int,
    span: int,
    draw: np.random.Generator,
    note: Callable[[Finding], None],
) -> None:
    stop_ms = max(end_ms(data.bars[symbol]) for symbol in symbols)
    start_ms = stop_ms - (need + span) * data.interval_ms
    strategy = make()
    names = dict.fromkeys((*symbols, *strategy.references))
    parts = {symbol: between(data.bars[symbol], start_ms, stop_ms) for symbol in names}
    parts = {symbol: part for symbol, part in parts.items() if len(part)}
    part = replace(data, bars=parts)
    from_ms = max(start_ms, min(first_ms(one) for one in parts.values())) + need * data.interval_ms
    if stop_ms - from_ms < 10 * data.interval_ms:
        return
    whole = _decisions(make(), part, from_ms, stop_ms)
    count = (stop_ms - from_ms) // data.interval_ms
    # A peek of one bar shows at the bar that decides alone, so half of the bars are such ones.
    numbers = set(draw.choice(np.arange(2, count - 1), min(bars, count - 3), replace=False).tolist())
    deciding = [(at_ms - from_ms) // data.interval_ms for at_ms in sorted(whole) if at_ms < stop_ms - data.interval_ms]
    if deciding:
        numbers |= set(draw.choice(deciding, min(bars, len(deciding)), replace=False).tolist())
    for number in sorted(numbers):
        bar_ms = from_ms + number * data.interval_ms
        for how, change in (("noise", noisy), ("shifted", None)):
            changed = {}
            for symbol, one in parts.items():
                place = int(np.searchsorted(one.start_ms, bar_ms, side="right")) - 1
                if place < 0:
                    changed[symbol] = one
                elif change:
                    changed[symbol] = noisy(one, place, draw, keep_open=True)
                else:
                    changed[symbol] = shifted(one, place, keep_open=True)
            columns = {
                column.name: {
                    symbol: unknown_changed(one, column, bar_ms + data.interval_ms, how, draw)
                    for symbol, one in data.columns.get(column.name, {}).items()
                }
                for column in strategy.columns
            }
            other = _decisions(make(), replace(part, bars=changed, columns=columns), from_ms, stop_ms)
            for at_ms in sorted({*whole, *other}):
                if at_ms <= bar_ms and whole.get(at_ms) != other.get(at_ms):
                    named = sorted({intent.symbol for intent in (*whole.get(at_ms, ()), *other.get(at_ms, ()))})
                    words = "are replaced by noise" if how == "noise" else "are shifted"
                    note(
                        Finding(
                            "the decision", ", ".join(named) or "nothing", at_ms, f"changes when later bars {words}"
                        )
                    )
                    break


def _decisions(
    strategy: Strategy[Any, Any], data: MarketData, from_ms: int, to_ms: int
) -> dict[int, tuple[Intent, ...]]:
    """What it wanted at each bar of a back-test, stops included."""
    wanted: dict[int, tuple[Intent, ...]] = {}
    evaluate = strategy.evaluate

    def recorded(seen: BarContext, state: StrategyState) -> list[Intent]:
        intents = evaluate(seen, state)
        if intents:
            wanted[seen.bar_ms] = tuple(intents)
        return intents

    strategy.evaluate = recorded  # type: ignore[method-assign,assignment]
    run(strategy, data, BacktestConfig(from_ms, to_ms, Decimal(10_000), Costs()), walk="slow")
    return wanted
