"""Folders of recorded ticks, written as the tick recorder does."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tick_recorder.schema import HOUR_MS, SCHEMAS, Kind
from tick_recorder.store import TickStore


def write(root: Path, kind: Kind, rows: Sequence[dict[str, object]], symbol: str = "BTCUSDT") -> None:
    """Stores rows as the recorder does, a part for each hour."""
    store, schema = TickStore(root), SCHEMAS[kind]
    for hour in sorted({int(str(row["ts"])) // HOUR_MS for row in rows}):
        own = [
            {name: row.get(name, 0 if name == "ordinal" else None) for name in schema} | {"ordinal": number}
            for number, row in enumerate(rows)
            if int(str(row["ts"])) // HOUR_MS == hour
        ]
        columns = {
            name: pl.Series([row[name] for row in own]).cast(kind_)
            if name != "ts"
            else pl.Series([row["ts"] for row in own]).cast(pl.Int64).cast(kind_)
            for name, kind_ in schema.items()
        }
        store.write_part(kind, symbol, hour, pl.DataFrame(columns))
