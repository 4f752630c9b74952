"""A folder of candles: `SYMBOL.parquet`, `SYMBOL.csv.gz` or `SYMBOL.csv`, one file a symbol.

Columns `start_ms,open,high,low,close,volume`, oldest first, without gaps; `start_ms` is UTC milliseconds. Beside them may
lie `SYMBOL.funding.parquet` (`time_ms,rate`) and `instruments-info.json` (rows as Bybit sends them).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alpha.errors import Misconfigured
from alpha.strategy.bars import Bars
from backtester.candles import COLUMNS, check, column
from backtester.csv_format import read_csv, read_parquet, write_parquet

SUFFIXES = (".parquet", ".csv.gz", ".csv")
FUNDING_SUFFIX = ".funding.parquet"
MINUTE_MS = 60_000
NAMES = ("start_ms", *COLUMNS)


def symbols_of(folder: Path) -> list[str]:
    """Symbols that the folder has candles of, in alphabetical order."""
    return sorted(_files(folder))


def read_folder(folder: Path, symbols: Sequence[str] = ()) -> dict[str, Bars]:
    """The candles of `symbols` (empty: all of the folder), by symbol. Misconfigured names what is missing or wrong."""
    files = _files(folder)
    if not files:
        raise Misconfigured(f"{folder} holds no candles: it needs SYMBOL.parquet, SYMBOL.csv.gz or SYMBOL.csv files.")
    if missing := sorted(set(symbols) - set(files)):
        raise Misconfigured(f"{folder} has no candles of {', '.join(missing)}; it has {', '.join(sorted(files))}.")
    read = {symbol: read_file(files[symbol], symbol) for symbol in sorted(symbols or files)}
    lengths = {candles.interval_ms: symbol for symbol, candles in read.items()}
    if len(lengths) > 1:
        told = ", ".join(f"{symbol} {length // 1000} s" for length, symbol in lengths.items())
        raise Misconfigured(f"{folder} mixes candles of different lengths ({told}): keep one length a folder.")
    return read


def read_file(path: Path, symbol: str) -> Bars:
    """The candles of one file, checked."""
    read = read_parquet if path.suffix == ".parquet" else read_csv
    found = read(path, NAMES)
    if len(found["start_ms"]) < 2:
        raise Misconfigured(f"{path} has {len(found['start_ms'])} candles: two are needed to know their length.")
    try:
        start_ms = found["start_ms"].astype(np.int64)
        values = [np.asarray(found[name], dtype=np.float64) for name in COLUMNS]
        whole = bool((start_ms == found["start_ms"]).all())
    except (TypeError, ValueError):
        whole = False
    if not whole:
        raise Misconfigured(f"{path} has columns of the wrong type: start_ms is whole, all others are numbers.")
    steps = np.diff(start_ms)
    forward = steps[steps > 0]
    interval_ms = int(forward.min()) if forward.size else MINUTE_MS
    candles = Bars(symbol, interval_ms, start_ms, *values)
    check(candles, str(path))
    return candles


def write_file(path: Path, candles: Bars) -> None:
    """The candles as Parquet; a reader sees the old file or the new one, never half of it."""
    write_parquet(path, {"start_ms": candles.start_ms, **{name: column(candles, name) for name in COLUMNS}})


def _files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise Misconfigured(f"{folder} is not a folder: give the folder that holds the candles.")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        suffix = next((end for end in SUFFIXES if path.name.endswith(end)), None)
        if suffix is None or path.name.endswith(FUNDING_SUFFIX):
            continue
        symbol = path.name.removesuffix(suffix)
        if symbol in files:
            raise Misconfigured(f"{folder} has both {files[symbol].name} and {path.name}: keep one of them.")
        files[symbol] = path
    return files
