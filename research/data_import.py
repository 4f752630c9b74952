"""Candles from the archives that there are, as the files that back-tests read.

Read are Binance Vision (CSV in zip, with and without header, milliseconds and microseconds), Bybit (CSV, gz), CryptoDataDownload
(a line of advertisement first, newest first, seconds and milliseconds mixed), freqtrade (feather, JSON), ccxt (JSON). Nothing is
repaired: a row that cannot be read is named. Blank lines, repeated headers and rows that are there twice and equal are passed
over; a time that is there twice with different prices is refused. Holes stay holes.
"""

import csv
import gzip
import io
import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np

from alpha.errors import Misconfigured
from alpha.strategy.bars import Bars
from backtester.candle_files import FUNDING_SUFFIX, read_file, write_file
from backtester.candles import COLUMNS, check, column, moment
from backtester.funding import read_rows, write_funding

MINUTE_MS = 60_000
#: Names of the columns that are needed, in the archives' own words.
NAMES = {
    "time": (
        "open_time",
        "start_at",
        "start_ms",
        "start",
        "unix",
        "timestamp",
        "open time",
        "opentime",
        "date",
        "time",
        "calc_time",
    ),
    "open": ("open",),
    "high": ("high",),
    "low": ("low",),
    "close": ("close",),
    "volume": ("volume", "base_volume", "vol"),
}
RATES = ("last_funding_rate", "fundingrate", "funding_rate", "rate")
_UNITS = ((10**17, 10**6), (10**14, 10**3), (10**11, 1))
_FORMS = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y.%m.%d %H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%m/%d/%Y %H:%M",
)
_QUOTES = ("USDT", "USDC", "USD", "BTC", "ETH", "EUR")


@dataclass(slots=True)
class Imported:
    """What one symbol's files gave: candles or funding rates written, rows that were there twice, holes, rows passed over."""

    symbol: str
    kind: str
    rows: int = 0
    twice: int = 0
    passed: int = 0
    holes: list[tuple[int, int]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


def import_files(sources: Sequence[Path], folder: Path, symbol: str | None = None) -> list[Imported]:
    """Bring files, or all files of folders, into `folder`. Misconfigured names the file, the row, what was found.

    The symbol is read from the file's name unless given. What the folder has already is kept; times of both must agree.
    """
    files = [path for source in sources for path in _files(source)]
    if not files:
        raise Misconfigured("There is no file to import: name CSV, zip, gz, feather or JSON files, or folders of them.")
    if symbol is not None and len({symbol_of(path) for path in files} - {None}) > 1:
        raise Misconfigured(f"--symbol {symbol} was given for files of several symbols: import them one by one.")
    groups: dict[tuple[str, str], list[Path]] = {}
    for path in files:
        name = symbol or symbol_of(path)
        if name is None:
            raise Misconfigured(f"{path}: its name does not tell the symbol: give it with --symbol.")
        kind = "funding" if "funding" in path.name.lower() else "candles"
        groups.setdefault((name, kind), []).append(path)
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _funding(name, paths, folder) if kind == "funding" else _candles(name, paths, folder)
        for (name, kind), paths in sorted(groups.items())
    ]


def symbol_of(path: Path) -> str | None:
    """BTCUSDT out of BTCUSDT-5m-2024-01.zip, Binance_BTCUSDT_1h.csv, BTC_USDT_USDT-5m-futures.feather; None when it has none."""
    name = path.name.upper()
    if pair := re.match(r"^([A-Z0-9]+)_(USDT|USDC)(?:_(?:USDT|USDC))?-", name):
        return pair[1] + pair[2]
    for part in re.split(r"[-_.\s]", name):
        if any(part.endswith(quote) and len(part) > len(quote) for quote in _QUOTES):
            return part
    return None


# --- rows ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    where: str
    time_ms: int
    values: tuple[str, ...]


def _candles(symbol: str, paths: list[Path], folder: Path) -> Imported:
    done = Imported(symbol, "candles", files=[path.name for path in paths])
    known: dict[int, tuple[tuple[float, ...], str]] = {}
    target = folder / f"{symbol}.parquet"
    if target.exists():
        have = read_file(target, symbol, gaps=True)
        for place, start in enumerate(have.start_ms.tolist()):
            known[start] = (tuple(float(column(have, name)[place]) for name in COLUMNS), str(target))
    for path in paths:
        for row in _rows(path, tuple(NAMES)[1:], done):
            values = tuple(_number(text, name, row.where) for text, name in zip(row.values, COLUMNS, strict=True))
            before = known.get(row.time_ms)
            if before is None:
                known[row.time_ms] = (values, row.where)
            elif before[0] == values:
                done.twice += 1
            else:
                raise Misconfigured(
                    f"{row.where}: the candle of {moment(row.time_ms)} is there twice with different values, also in "
                    f"{before[1]}. Keep the right one; times in local time have such an hour each autumn, import UTC."
                )
    if len(known) < 2:
        raise Misconfigured(f"{paths[0]}: {len(known)} candles of {symbol} were found; at least two are needed.")
    times = np.array(sorted(known), dtype=np.int64)
    steps = np.diff(times)
    interval_ms = int(steps.min())
    off = np.flatnonzero(times % interval_ms if interval_ms <= 86_400_000 else np.zeros(len(times)))
    if interval_ms % MINUTE_MS or off.size:
        first = int(times[off[0]]) if off.size else int(times[int(steps.argmin()) + 1])
        raise Misconfigured(
            f"{known[first][1]}: a candle starts at {moment(first)}, which does not fit candles of {interval_ms / 1000:g} s: "
            "files of different lengths do not go into one symbol."
        )
    table = np.array([known[time][0] for time in times.tolist()])
    bars = Bars(symbol, interval_ms, times, *(table[:, place].copy() for place in range(5)))
    check(bars, f"{symbol} from {paths[0].name}")
    write_file(target, bars)
    done.rows = len(bars)
    done.holes = [(int(times[place]), int(times[place + 1])) for place in np.flatnonzero(steps != interval_ms)]
    return done


def _funding(symbol: str, paths: list[Path], folder: Path) -> Imported:
    done = Imported(symbol, "funding", files=[path.name for path in paths])
    target = folder / f"{symbol}{FUNDING_SUFFIX}"
    rates: dict[int, Decimal] = {}
    if target.exists():
        times, values = read_rows(target)
        rates = dict(zip(times.tolist(), values, strict=True))
    for path in paths:
        for row in _rows(path, ("rate",), done):
            # Archives write the moment of the computation, some milliseconds after the full minute.
            time_ms = row.time_ms // MINUTE_MS * MINUTE_MS
            try:
                rate = Decimal(row.values[0])
            except InvalidOperation:
                raise Misconfigured(f"{row.where}: the rate must be a number, found {row.values[0]!r}.") from None
            if rates.get(time_ms, rate) != rate:
                raise Misconfigured(
                    f"{row.where}: the rate of {moment(time_ms)} is {rate}, and {rates[time_ms]} elsewhere."
                )
            done.twice += time_ms in rates
            rates[time_ms] = rate
    if len(rates) < 2:
        raise Misconfigured(f"{paths[0]}: {len(rates)} funding rates were found; at least two are needed.")
    write_funding(target, rates)
    done.rows = len(rates)
    return done


def _rows(path: Path, wanted: tuple[str, ...], done: Imported) -> Iterator[_Row]:
    """Time and wanted values of every row of a file, whatever its form."""
    name = path.name.lower()
    if name.endswith((".feather", ".parquet")):
        yield from _frame_rows(path, wanted)
        return
    for inside, raw in _texts(path):
        text = _decoded(raw, inside)
        if name.endswith((".json", ".json.gz")):
            yield from _json_rows(inside, text, wanted)
        else:
            yield from _csv_rows(inside, text, wanted, done)


def _csv_rows(where: str, text: str, wanted: tuple[str, ...], done: Imported) -> Iterator[_Row]:
    delimiter = ";" if text.split("\n", 1)[0].count(";") > 2 else ","
    places: list[int] | None = None
    for number, fields in enumerate(csv.reader(io.StringIO(text), delimiter=delimiter), start=1):
        cells = [cell.strip() for cell in fields]
        if not any(cells):
            done.passed += 1
            continue
        header = _header(cells, wanted)
        if header is not None:
            if places is not None:
                done.passed += 1
            places = header
            continue
        if len(cells) < 2:  # a line of advertisement
            done.passed += 1
            continue
        at = f"{where} line {number}"
        here = places if places is not None else list(range(len(wanted) + 1))
        if len(cells) <= max(here):
            raise Misconfigured(f"{at}: {max(here) + 1} fields are needed, found {len(cells)}.")
        yield _Row(at, _time(cells[here[0]], at), tuple(cells[place] for place in here[1:]))


def _header(cells: list[str], wanted: tuple[str, ...]) -> list[int] | None:
    """Where time and the wanted columns are, when this row names them."""
    names = [cell.strip('"').lower() for cell in cells]
    found: list[int] = []
    for want in ("time", *wanted):
        options = RATES if want == "rate" else NAMES[want]
        place = next((names.index(option) for option in options if option in names), None)
        if place is None and want == "volume":
            # CryptoDataDownload names the coin: the first such column is in the base coin
            place = next((n for n, name in enumerate(names) if name.startswith("volume")), None)
        if place is None:
            return None
        found.append(place)
    return found


def _json_rows(where: str, text: str, wanted: tuple[str, ...]) -> Iterator[_Row]:
    try:
        table = json.loads(text, parse_float=str)
    except json.JSONDecodeError as fault:
        raise Misconfigured(f"{where} cannot be read as JSON: {fault}.") from None
    if isinstance(table, dict):  # Bybit's answers
        table = table.get("result", table)
        table = table.get("list", table) if isinstance(table, dict) else table
    if not isinstance(table, list):
        raise Misconfigured(f"{where} holds no list of candles.")
    for number, row in enumerate(table, start=1):
        at = f"{where} row {number}"
        if isinstance(row, dict):
            keys = {str(key).lower(): value for key, value in row.items()}
            values = [
                next((keys[option] for option in (RATES if want == "rate" else NAMES[want]) if option in keys), None)
                for want in ("time", *wanted)
            ]
        else:
            values = list(row)[: len(wanted) + 1] if isinstance(row, list) else []
        if len(values) < len(wanted) + 1 or any(value is None for value in values):
            raise Misconfigured(f"{at}: time and {', '.join(wanted)} are needed, found {str(row)[:60]}.")
        yield _Row(at, _time(str(values[0]), at), tuple(str(value) for value in values[1:]))


def _frame_rows(path: Path, wanted: tuple[str, ...]) -> Iterator[_Row]:
    import polars as pl

    try:
        if path.suffix == ".feather":
            frame = pl.read_ipc(path)
        else:
            frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as fault:
        raise Misconfigured(f"{path} cannot be read: {str(fault).splitlines()[0]}.") from None
    names = {name.lower(): name for name in frame.columns}
    columns: list[list[Any]] = []
    for want in ("time", *wanted):
        # freqtrade keeps funding rates as the open of candles of eight hours
        options = (*RATES, "open") if want == "rate" else NAMES[want]
        name = next((names[option] for option in options if option in names), None)
        if name is None:
            raise Misconfigured(f"{path} has no column of the {want}; it has {', '.join(frame.columns)}.")
        values = frame[name]
        if values.dtype.is_temporal():
            values = values.cast(pl.Datetime("ms")).dt.epoch("ms")
        columns.append(values.to_list())
    for number, row in enumerate(zip(*columns, strict=True), start=1):
        at = f"{path.name} row {number}"
        yield _Row(at, _time(str(row[0]), at), tuple(str(value) for value in row[1:]))


# --- files and values -----------------------------------------------------------------------------------------------


def _files(source: Path) -> Iterable[Path]:
    if source.is_dir():
        kinds = (".csv", ".gz", ".zip", ".json", ".feather", ".parquet")
        return sorted(path for path in source.rglob("*") if path.is_file() and path.name.lower().endswith(kinds))
    if not source.exists():
        raise Misconfigured(f"{source} does not exist.")
    return [source]


def _texts(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        if path.name.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                for entry in sorted(archive.namelist()):
                    if entry.lower().endswith((".csv", ".json")):
                        yield f"{path.name}/{entry}", archive.read(entry)
        elif path.name.lower().endswith(".gz"):
            yield path.name, gzip.decompress(path.read_bytes())
        else:
            yield path.name, path.read_bytes()
    except (OSError, EOFError, zipfile.BadZipFile, RuntimeError) as fault:
        raise Misconfigured(f"{path} cannot be read: {fault}.") from None


def _decoded(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as fault:
        line = raw.count(b"\n", 0, fault.start) + 1
        raise Misconfigured(f"{where} line {line}: it is not text (byte 0x{raw[fault.start]:02x}).") from None


def _time(text: str, where: str) -> int:
    """UTC milliseconds of a number in seconds, milliseconds, microseconds or nanoseconds, or of a date."""
    try:
        number = int(Decimal(text))
    except (InvalidOperation, ValueError, OverflowError):
        return _date(text, where)
    if not 10**9 <= number < 10**20:
        raise Misconfigured(f"{where}: the time must be after 2001, found {text}.")
    per_ms = next((per for least, per in _UNITS if number >= least), 0)
    return number * 1000 if per_ms == 0 else number // per_ms


def _date(text: str, where: str) -> int:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        for form in _FORMS:
            try:
                found = datetime.strptime(text, form)  # noqa: DTZ007 - archives write UTC without saying so
                break
            except ValueError:
                continue
        else:
            raise Misconfigured(f"{where}: the time must be a number or a date, found {text[:40]!r}.") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def _number(text: str, name: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Misconfigured(f"{where}: {name} must be a number, found {text[:40]!r}.") from None
