"""A folder of candles as the strategies' bars: read by `exchange_simulator.candle_files`, which the simulator uses too.

Beside the candles may lie `SYMBOL.funding.parquet` (`time_ms,rate`) and `instruments-info.json` (rows as Bybit sends them).
"""

import re
from collections.abc import Sequence
from pathlib import Path

from alpha.errors import Misconfigured, shown
from alpha.strategy.bars import Bars
from backtester.candle_cache import cached, content_name, keep
from backtester.candles import COLUMNS, between, column, end_ms, first_ms, longest, moment
from backtester.candles import gaps as gaps_of
from backtester.csv_format import write_parquet
from backtester.parts import named
from exchange_simulator.candle_files import CandleFault, candle_files, read_candles

FUNDING_SUFFIX = ".funding.parquet"
#: A symbol as it is; anything else is quoted in a message.
_NAME = re.compile("[A-Z0-9-]{1,40}")


def symbols_of(folder: Path) -> list[str]:
    """Symbols that the folder has candles of, in alphabetical order."""
    return sorted(_files(folder))


def read_folder(
    folder: Path,
    symbols: Sequence[str] = (),
    *,
    from_ms: int | None = None,
    to_ms: int | None = None,
    left_out: list[str] | None = None,
    parts: bool = False,
) -> dict[str, Bars]:
    """The candles of `symbols` (empty: all of the folder), by symbol. Misconfigured names what is missing or wrong.

    Of a range only what it needs is checked for gaps: its own candles, and those before it that reach it without one. A
    symbol that has none in the range is left out. With `left_out`, a symbol with a gap in the range is taken with its longest
    part without one, and what was left out is written there; with `parts` it keeps its holes.
    """
    files = _files(folder)
    if missing := sorted(set(symbols) - set(files)):
        lacking = ", ".join(name if _NAME.fullmatch(name) else shown(name) for name in missing)
        raise Misconfigured(f"{folder} has no candles of {lacking}; it has {', '.join(sorted(files))}.")
    read = {
        symbol: read_file(files[symbol], symbol, from_ms=from_ms, to_ms=to_ms, gaps=left_out is not None)
        for symbol in sorted(symbols or files)
    }
    lengths = {candles.interval_ms: symbol for symbol, candles in read.items()}
    if len(lengths) > 1:
        told = ", ".join(f"{symbol} {length // 1000} s" for length, symbol in lengths.items())
        raise Misconfigured(f"{folder} mixes candles of different lengths ({told}): keep one length a folder.")
    if left_out is not None:
        for symbol, candles in read.items():
            if len(candles) and gaps_of(candles):
                if parts:
                    left_out.append(named(candles))
                    continue
                read[symbol] = part = longest(candles, from_ms)
                left_out.append(f"{symbol}: {len(candles) - len(part)} candles outside of {_span(part)}")
    return {symbol: candles for symbol, candles in read.items() if len(candles)}


def read_file(
    path: Path, symbol: str, *, from_ms: int | None = None, to_ms: int | None = None, gaps: bool = False
) -> Bars:
    """The candles of one file, checked; those of a range as `read_folder` says. With `gaps` a gap is no fault."""
    name = content_name(path) if path.is_file() else ""
    known = cached(name, symbol) if name else None
    if known is not None:  # it has no gap: all of it that lies before the range is its warm-up
        return _cut(known, from_ms, to_ms)
    try:
        found = read_candles(path, from_ms=from_ms, to_ms=to_ms, gaps=gaps)
    except CandleFault as fault:
        raise Misconfigured(str(fault)) from None
    bars = Bars(symbol, found.interval_ms, found.start_ms, *(found.floats(name) for name in COLUMNS))
    if name and from_ms is None and to_ms is None and not found.gaps:
        keep(name, bars)
    return bars


def _span(bars: Bars) -> str:
    return f"{moment(first_ms(bars))} to {moment(end_ms(bars))}"


def _cut(bars: Bars, from_ms: int | None, to_ms: int | None) -> Bars:
    """Candles before `to_ms`; none at all where none starts at `from_ms` or after it."""
    if to_ms is not None:
        bars = between(bars, 0, to_ms)
    if from_ms is not None and len(bars) and int(bars.start_ms[-1]) < from_ms:
        bars = between(bars, 0, 0)
    return bars


def write_file(path: Path, candles: Bars) -> None:
    """The candles as Parquet; a reader sees the old file or the new one, never half of it."""
    write_parquet(path, {"start_ms": candles.start_ms, **{name: column(candles, name) for name in COLUMNS}})


def _files(folder: Path) -> dict[str, Path]:
    try:
        return candle_files(folder)
    except CandleFault as fault:
        raise Misconfigured(str(fault)) from None
