"""Reads what is already stored, for a recorder that starts."""

import polars as pl

from alpha.errors import Rejected
from alpha.logs import logger
from alpha.model.timestamp import ms_of
from tick_recorder.gaps import Gap, GapState
from tick_recorder.schema import Kind
from tick_recorder.sequencer import Known
from tick_recorder.store import TickFile, TickStore

log = logger(__name__)


def read_hour(store: TickStore, kind: Kind, symbol: str, hour: int) -> pl.DataFrame | None:
    """The rows of one hour; None if nothing is stored. Unreadable files are logged and skipped."""
    for _ in range(2):
        frames = []
        files = store.files(kind, symbol, hour, hour)
        for file in files:
            frame = _read(file)
            if frame is not None:
                frames.append(frame)
        # retry if they were merged meanwhile
        if all(file.path.exists() for file in files):
            break
    return pl.concat(frames) if frames else None


def load_known(store: TickStore, kind: Kind, symbol: str, hour: int) -> Known:
    """The ids and ordinals of one stored hour."""
    frame = read_hour(store, kind, symbol, hour)
    known = Known()
    if frame is None:
        return known
    key = {Kind.TRADES: "id", Kind.BBO: "update_id", Kind.DEPTH: "update_id"}.get(kind)
    if key is not None:
        known.ids = set(frame[key])
    newest = frame.group_by("ts").agg(pl.col("ordinal").max())
    known.next_ordinal = {
        ts: ordinal + 1 for ts, ordinal in zip(newest["ts"].to_physical(), newest["ordinal"], strict=True)
    }
    return known


def last_row(store: TickStore, kind: Kind, symbol: str) -> tuple[int, int | None] | None:
    """The newest stored row's time in milliseconds, and its update id if the kind has one; None without rows."""
    hours = sorted({file.hour for file in store.every_file(kind, symbol)}, reverse=True)
    for hour in hours:
        frame = read_hour(store, kind, symbol, hour)
        if frame is not None and len(frame):
            newest = frame.sort("ts", "ordinal").row(-1, named=True)
            return ms_of(newest["ts"]), newest.get("update_id")
    return None


def all_gaps(store: TickStore, symbol: str | None = None) -> pl.DataFrame:
    """The latest row of every gap, by time."""
    symbols = store.symbols(Kind.GAPS) if symbol is None else [symbol]
    frames = [
        frame
        for name in symbols
        for hour in {file.hour for file in store.every_file(Kind.GAPS, name)}
        if (frame := read_hour(store, Kind.GAPS, name, hour)) is not None
    ]
    if not frames:
        from tick_recorder.schema import empty

        return empty(Kind.GAPS)
    return (
        pl.concat(frames)
        .sort("received")
        .unique("gap_id", keep="last")
        .sort("ts", "symbol", "kind", "received", "gap_id")
    )


def open_gaps(store: TickStore) -> list[Gap]:
    """The gaps that are still open."""
    found = all_gaps(store).filter(pl.col("state") == GapState.OPEN)
    return [
        Gap(
            ms_of(row["ts"]),
            row["gap_id"],
            row["kind"],
            row["symbol"],
            None,
            row["reason"],
            row["state"],
            int(row["received"].timestamp() * 1_000_000),
        )
        for row in found.iter_rows(named=True)
    ]


def _read(file: TickFile) -> pl.DataFrame | None:
    try:
        return file.read()
    except Rejected as fault:
        log.warning("tick_file_not_read", why=str(fault))
        return None
