"""Columns of a Parquet file, by name: what the back-tester writes, and the recorded funding.

`polars` is loaded only here: its import alone takes a good part of a back-test of three months.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alpha.errors import Misconfigured


def read_parquet(path: Path, wanted: Sequence[str]) -> dict[str, Any]:
    """The columns of a Parquet file as arrays of whatever type they have. Misconfigured as for CSV."""
    import polars as pl

    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as fault:
        raise unreadable(path, fault) from None
    _have(path, frame.columns, wanted)
    if any(frame.select(wanted).null_count().row(0)):
        raise _empty(path, wanted)
    return {name: frame[name].to_numpy() for name in wanted}


def write_parquet(path: Path, columns: Mapping[str, Any]) -> None:
    """A Parquet file of these columns; a reader sees the old file or the new one, never half of it."""
    import polars as pl

    partial = path.with_name(path.name + ".part")
    pl.DataFrame(columns).write_parquet(partial)
    partial.replace(path)


def unreadable(path: Path, fault: Exception) -> Misconfigured:
    """A file whose content is not what it should be."""
    first = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
    return Misconfigured(f"{path} cannot be read as candles: {first}.")


def _have(path: Path, names: Sequence[str], wanted: Sequence[str]) -> None:
    if missing := [name for name in wanted if name not in names]:
        raise Misconfigured(f"{path} has no column {', '.join(missing)}; it needs {', '.join(wanted)}.")


def _empty(path: Path, wanted: Sequence[str]) -> Misconfigured:
    return Misconfigured(f"{path} has empty fields: every candle needs {', '.join(wanted)}.")
