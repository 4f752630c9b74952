"""What is stored against what was sent: every row once, or in a gap."""

from pathlib import Path

import polars as pl

from alpha.model.timestamp import ms_of
from tick_recorder.gaps import GapState
from tick_recorder.schema import Kind, empty
from tick_recorder.store import TickStore
from tick_recorder.stored import all_gaps, read_hour
from tick_recorder.tests.exchange import Sent


def stored(folder: Path, kind: Kind, symbol: str) -> pl.DataFrame:
    """Everything of a kind and symbol, sorted."""
    store = TickStore(folder)
    hours = sorted({file.hour for file in store.every_file(kind, symbol)})
    frames = [frame for hour in hours if (frame := read_hour(store, kind, symbol, hour)) is not None]
    return pl.concat(frames).sort("ts", "ordinal") if frames else empty(kind)


def gaps(folder: Path, kind: Kind, symbol: str) -> list[tuple[int, int]]:
    """The intervals in which rows are missing, in milliseconds, both ends included."""
    rows = all_gaps(TickStore(folder), symbol).filter((pl.col("kind") == kind) & (pl.col("state") != GapState.FILLED))
    return [
        (ms_of(row["ts"]), 1 << 60 if row["until"] is None else ms_of(row["until"]))
        for row in rows.iter_rows(named=True)
    ]


def missing(folder: Path, symbol: str, sent: Sent, since_ms: int) -> dict[str, list[object]]:
    """What was sent since `since_ms` and is neither stored nor in a gap, by kind; AssertionError for a row that is twice."""
    found: dict[str, list[object]] = {}
    keys = {Kind.TRADES: "id", Kind.BBO: "update_id"}
    rows: dict[Kind, list[tuple[object, int]]] = {
        Kind.TRADES: [(row[0], row[1]) for row in sent.trades],
        Kind.BBO: [(row[0], row[1]) for row in sent.quotes],
    }
    for kind, key in keys.items():
        frame = stored(folder, kind, symbol)
        ids = frame[key].to_list()
        assert len(ids) == len(set(ids)), f"{len(ids) - len(set(ids))} {kind} of {symbol} are stored twice"
        places = list(zip(frame["ts"], frame["ordinal"], strict=True))
        assert len(places) == len(set(places)), f"two {kind} of {symbol} share time and ordinal"
        known, holes = set(ids), gaps(folder, kind, symbol)
        found[kind] = [
            one
            for one, ts in rows[kind]
            if ts >= since_ms and one not in known and not any(a <= ts <= b for a, b in holes)
        ]
    return found
