"""The six columns of a candle file as stored: text for CSV, numbers for Parquet."""

import csv
import gzip
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TIME = "start_ms"
VALUES = ("open", "high", "low", "close", "volume")
NAMES = (TIME, *VALUES)
#: A larger file is an attack or not a candle file at all.
MOST_BYTES = 4 * 2**30
Floats = NDArray[np.float64]


class CandleFault(ValueError):
    """A candle file cannot be used. One sentence: file, line, value found, value expected."""


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of a file. `lines` holds the fields of each candle for CSV, None for Parquet."""

    path: Path
    floats: dict[str, Floats]
    times: list[str] | NDArray[np.int64]
    lines: list[list[str]] | None
    places: dict[str, int]

    def texts(self, name: str) -> list[str]:
        """A column of prices or volumes with every digit."""
        if self.lines is None:
            return [repr(value) for value in self.floats[name].tolist()]
        place = self.places[name]
        return [fields[place].strip() for fields in self.lines]

    def where(self, place: int) -> str:
        """The file and the line of the candle at `place`."""
        return f"{self.path} line {place + 2}" if self.lines is not None else f"{self.path} row {place + 1}"


def read_table(path: Path) -> Table:
    """Reads a file in the format of its extension. Raises CandleFault."""
    name = path.name.lower()
    if name.endswith(".parquet"):
        return _parquet(path)
    try:
        raw = _bytes(path, name)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError) as fault:
        raise CandleFault(f"{path} cannot be read: {_first_line(fault)}.") from None
    return _csv(path, raw)


def _bytes(path: Path, name: str) -> bytes:
    if name.endswith(".gz"):
        with gzip.open(path) as file:
            raw = file.read(MOST_BYTES + 1)
    elif name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            inside = [entry for entry in archive.infolist() if entry.filename.lower().endswith(".csv")]
            if len(inside) != 1:
                raise CandleFault(f"{path} holds {len(inside)} CSV files; a zip of candles holds exactly one.")
            with archive.open(inside[0]) as file:
                raw = file.read(MOST_BYTES + 1)
    else:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise CandleFault(f"{path} is larger than {MOST_BYTES // 2**30} GiB: split it, or take longer candles.")
    return raw


def _csv(path: Path, raw: bytes) -> Table:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = raw.count(b"\n", 0, fault.start) + 1
        raise CandleFault(f"{path} line {line}: it is not text (byte 0x{raw[fault.start]:02x}).") from None
    rows = text.replace("\r\n", "\n").rstrip("\n\r ").split("\n")
    header = [name.strip().strip('"').lower() for name in rows[0].split(",")]
    places = _places(path, header)
    body = rows[1:]
    try:
        lines = list(csv.reader(body, strict=True)) if '"' in text else [row.split(",") for row in body]
    except csv.Error as fault:
        raise CandleFault(f"{path} cannot be read as CSV: {_first_line(fault)}.") from None
    for number, fields in enumerate(lines, start=2):
        if len(fields) != len(header):
            found = "nothing" if not "".join(fields).strip() else f"{len(fields)} fields"
            raise CandleFault(f"{path} line {number}: {len(header)} fields are needed, found {found}.")
    floats = {name: _floats(path, name, [fields[places[name]] for fields in lines]) for name in VALUES}
    return Table(path, floats, [fields[places[TIME]] for fields in lines], lines, places)


def _places(path: Path, header: Sequence[str]) -> dict[str, int]:
    if missing := [name for name in NAMES if name not in header]:
        found = ", ".join(name[:30] for name in header[:12]) or "nothing"
        raise CandleFault(
            f"{path} line 1: it has no column {', '.join(missing)}; it needs {', '.join(NAMES)}, found {found[:200]}."
        )
    if twice := [name for name in NAMES if header.count(name) > 1]:
        raise CandleFault(f"{path} line 1: the column {twice[0]} is there twice.")
    return {name: header.index(name) for name in NAMES}


def _floats(path: Path, name: str, column: list[str]) -> Floats:
    try:
        return np.array(column, dtype=np.float64)
    except ValueError:
        for number, value in enumerate(column, start=2):
            try:
                float(value)
            except ValueError:
                found = f"{value.strip()[:40]!r}" if value.strip() else "an empty field"
                raise CandleFault(f"{path} line {number}: {name} must be a number, found {found}.") from None
        raise


def _parquet(path: Path) -> Table:
    try:
        import polars as pl
    except ImportError:
        raise CandleFault(f"{path}: Parquet needs the package polars, which is not installed here. Use CSV.") from None
    try:
        frame = pl.read_parquet(path)
        frame = frame.rename({name: name.strip().lower() for name in frame.columns})
    except (OSError, pl.exceptions.PolarsError) as fault:
        raise CandleFault(f"{path} cannot be read: {_first_line(fault)}.") from None
    except BaseException as fault:
        # a damaged file can make polars panic; PanicException is not a subclass of Exception
        if type(fault).__name__ != "PanicException":
            raise
        raise CandleFault(f"{path} cannot be read: it is damaged.") from None
    _places(path, frame.columns)
    frame = frame.select(NAMES)
    for name, nulls in zip(NAMES, frame.null_count().row(0), strict=True):
        if nulls:
            place = int(frame[name].is_null().arg_max() or 0)
            raise CandleFault(f"{path} row {place + 1}: {name} is an empty field.")
    time = frame[TIME]
    if time.dtype.is_temporal():
        time = time.cast(pl.Datetime("ms")).dt.epoch("ms")
    wrong = [name for name in VALUES if not frame[name].dtype.is_numeric()]
    if not time.dtype.is_integer() and not (time.dtype.is_float() and bool((time == time.round()).all())):
        wrong.insert(0, TIME)
    if wrong:
        kind = frame[wrong[0]].dtype
        raise CandleFault(f"{path}: {wrong[0]} must be {'whole ' if wrong[0] == TIME else ''}numbers, found {kind}.")
    floats: dict[str, Any] = {name: frame[name].cast(pl.Float64).to_numpy() for name in VALUES}
    return Table(path, floats, time.cast(pl.Int64).to_numpy(), None, {})


def _first_line(fault: BaseException) -> str:
    return (str(fault).splitlines() or [type(fault).__name__])[0].rstrip(".")[:200]
