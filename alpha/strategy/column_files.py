"""Files of columns that a user keeps: NAME.csv for all symbols, or NAME/SYMBOL.csv, or the same as Parquet.

A file has the columns `time_ms` (UTC milliseconds) or `time` (ISO 8601, UTC where nothing else is said), and `value`. Times
ascend, each once.
"""

import csv
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from alpha.errors import Misconfigured
from alpha.model.timestamp import ms_of
from alpha.strategy.auxiliary import Column, Rows

FORMATS = (".csv", ".parquet")


def file_of(folder: Path, column: Column, symbol: str) -> Path | None:
    """The file that holds this column of this symbol; None when there is none."""
    names = [f"{column.name}/{symbol}"] if column.per_symbol else [column.name]
    for name in names:
        for ending in FORMATS:
            path = folder / f"{name}{ending}"
            if path.is_file():
                return path
    return None


def read_column(folder: Path, column: Column, symbol: str) -> Rows:
    """The rows of a column. Misconfigured names the file that is missing, or what is wrong with it."""
    path = file_of(folder, column, symbol)
    if path is None:
        place = f"{column.name}/{symbol}" if column.per_symbol else column.name
        raise Misconfigured(
            f"The strategy looks at the column {column.name!r}, and {folder} has no {place}.csv: it needs time_ms (or time) and value."
        )
    return read_rows(path)


def read_rows(path: Path) -> Rows:
    """The rows of one file. Misconfigured says what is wrong with it."""
    try:
        times, values = _parquet(path) if path.suffix == ".parquet" else _csv(path)
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise Misconfigured(f"{path} cannot be read: {fault}.") from None
    if len(times) and int(times.min()) < 10**11 and int(times.max()) > 10**8:
        raise Misconfigured(
            f"{path}: time_ms must be milliseconds since 1970, found {int(times[0])}; multiply seconds by 1000."
        )
    if len(bad := np.flatnonzero(np.diff(times) <= 0)):
        raise Misconfigured(f"{path} row {int(bad[0]) + 2}: times must ascend, each once.")
    if np.isinf(values).any():
        raise Misconfigured(f"{path} row {int(np.flatnonzero(np.isinf(values))[0]) + 1}: a value must be a number.")
    return Rows(times, values)


def read_csv_texts(path: Path, wanted: Sequence[str]) -> dict[str, np.ndarray[tuple[int], np.dtype[np.object_]]]:
    """Columns of a CSV file as texts. Misconfigured when one is missing."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file)
            if missing := [name for name in wanted if name not in (lines.fieldnames or [])]:
                raise Misconfigured(f"{path} has no column {', '.join(missing)}; it needs {', '.join(wanted)}.")
            found = list(lines)
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise Misconfigured(f"{path} cannot be read: {fault}.") from None
    return {name: np.array([row[name] or "" for row in found], dtype=object) for name in wanted}


def _csv(path: Path) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int], np.dtype[np.float64]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.DictReader(file)
        names = lines.fieldnames or []
        time_name = next((name for name in ("time_ms", "time") if name in names), None)
        if time_name is None or "value" not in names:
            raise Misconfigured(
                f"{path} has the columns {', '.join(names) or '(none)'}; it needs time_ms (or time) and value."
            )
        found = list(_rows(path, lines, time_name))
    times = np.array([row[0] for row in found], dtype=np.int64)
    return times, np.array([row[1] for row in found], dtype=np.float64)


def _rows(path: Path, lines: Iterable[dict[str, str]], time_name: str) -> Iterable[tuple[int, float]]:
    for number, line in enumerate(lines, start=2):
        when, value = (line[time_name] or "").strip(), (line["value"] or "").strip()
        try:
            yield int(when) if time_name == "time_ms" else _moment(when), float(value) if value else np.nan
        except (ValueError, OverflowError):
            raise Misconfigured(
                f"{path} line {number}: {when[:40]!r}, {value[:40]!r} is not a time and a number."
            ) from None


def _moment(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return ms_of(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _parquet(
    path: Path,
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int], np.dtype[np.float64]]]:
    try:
        import polars as pl
    except ImportError:
        raise Misconfigured(f"{path} is Parquet, which needs the package polars; write it as CSV.") from None
    try:
        frame = pl.read_parquet(path)
        if "value" not in frame.columns or not {"time_ms", "time"} & set(frame.columns):
            raise Misconfigured(
                f"{path} has the columns {', '.join(frame.columns)}; it needs time_ms (or time) and value."
            )
        times = frame["time_ms"].cast(pl.Int64) if "time_ms" in frame.columns else frame["time"].dt.epoch("ms")
        if times.null_count():
            raise Misconfigured(f"{path} has a row without a time.")
        return times.to_numpy(), frame["value"].cast(pl.Float64).to_numpy()
    except pl.exceptions.PolarsError as fault:
        raise Misconfigured(f"{path} cannot be read: {str(fault).splitlines()[0]}.") from None
