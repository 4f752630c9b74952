"""Lists and verifies the contents of a tick folder."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from alpha.errors import Misconfigured, Rejected
from alpha.model.timestamp import at
from tick_recorder.gaps import GapState
from tick_recorder.schema import HOUR_MS, Kind
from tick_recorder.store import TickFile, TickStore
from tick_recorder.stored import all_gaps

_KEYS = {Kind.TRADES: "id", Kind.BBO: "update_id", Kind.DEPTH: "update_id"}


@dataclass(frozen=True, slots=True)
class Held:
    """What is stored of one kind and symbol. `gap_ms` is the total length of its closed gaps."""

    kind: Kind
    symbol: str
    first: datetime
    last: datetime
    rows: int
    files: int
    size: int
    gaps: int
    gap_ms: int


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of one file."""

    path: Path
    text: str


def open_folder(folder: Path) -> TickStore:
    """The store in this folder; Misconfigured if the folder does not exist."""
    if not folder.is_dir():
        raise Misconfigured(f"There is no folder {folder}. Name the folder of ticks with --dir or TICKS_DIR.")
    return TickStore(folder)


def held(store: TickStore) -> list[Held]:
    """One entry per kind and symbol; unreadable files are skipped (`verify` reports them)."""
    found = []
    holes = all_gaps(store).filter(pl.col("state") != GapState.FILLED)
    for kind in Kind:
        if kind is Kind.GAPS:
            continue
        for symbol in store.symbols(kind):
            files = store.files(kind, symbol)
            counted = [numbers for file in files if (numbers := _numbers(file)) is not None]
            if not counted:
                continue
            mine = holes.filter((pl.col("kind") == kind) & (pl.col("symbol") == symbol))
            length = (mine["until"] - mine["ts"]).dt.total_milliseconds().sum() if len(mine) else 0
            found.append(
                Held(
                    kind,
                    symbol,
                    min(first for _, first, _ in counted),
                    max(last for _, _, last in counted),
                    sum(rows for rows, _, _ in counted),
                    len(files),
                    sum(file.path.stat().st_size for file in files),
                    len(mine),
                    int(length),
                )
            )
    return found


def _numbers(file: TickFile) -> tuple[int, datetime, datetime] | None:
    try:
        row = (
            pl.scan_parquet(file.path, hive_partitioning=False)
            .select(rows=pl.len(), first=pl.col("ts").min(), last=pl.col("ts").max())
            .collect()
            .row(0)
        )
    except (OSError, pl.exceptions.PolarsError):
        return None
    return row if row[0] else None


def verify(store: TickStore) -> Iterator[Fault]:
    """Read everything and yield the faults: unreadable or foreign files, rows outside their hour, duplicate rows, and rows
    that share time and ordinal.
    """
    for path in sorted(store.root.rglob("*")):
        if path.is_file() and not _belongs(store.root, path):
            yield Fault(path, "is not a file of the tick recorder. Move it elsewhere.")
    for kind in Kind:
        for symbol in store.symbols(kind):
            files = store.files(kind, symbol)
            for hour in sorted({file.hour for file in files}):
                yield from _verify_hour(kind, [file for file in files if file.hour == hour], hour)


def _verify_hour(kind: Kind, files: list[TickFile], hour: int) -> Iterator[Fault]:
    frames = []
    for file in files:
        try:
            frame = file.read()
        except Rejected as fault:
            yield Fault(file.path, str(fault))
            continue
        start, end = at(hour * HOUR_MS), at((hour + 1) * HOUR_MS)
        outside = frame.filter((pl.col("ts") < start) | (pl.col("ts") >= end))
        if len(outside):
            yield Fault(file.path, f"holds {len(outside)} rows of another hour.")
        frames.append(frame)
    if not frames or kind is Kind.GAPS:
        return
    rows = pl.concat(frames)
    places = len(rows) - rows.select("ts", "ordinal").n_unique()
    if places:
        yield Fault(files[-1].path, f"{places} rows share time and ordinal with another.")
    key = _KEYS.get(kind)
    if key is not None and kind is Kind.TRADES and len(rows) != rows[key].n_unique():
        yield Fault(files[-1].path, f"{len(rows) - rows[key].n_unique()} rows are stored twice.")


def _belongs(root: Path, path: Path) -> bool:
    name = path.relative_to(root)
    if any(part.startswith(".") for part in name.parts):
        return True
    if len(name.parts) != 4 or name.parts[0] not in set(Kind):
        return False
    symbol = name.parts[1].removeprefix("symbol=")
    return any(file.path == path for file in TickStore(root).every_file(Kind(name.parts[0]), symbol))
