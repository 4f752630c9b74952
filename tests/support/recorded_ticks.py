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


def write_candles_as_ticks(candles: Path, root: Path, days: int, tick: str) -> None:
    """Stores the last `days` of a file of five-minute candles as ticks: each has a trade and a quote at its open, its extremes and
    its close, which is bought; the bid is a `tick` below.
    """
    frame = pl.read_csv(candles, schema_overrides={"start_ms": pl.Int64}, infer_schema=False).tail(days * 288)
    symbol, store = candles.name.partition(".")[0], TickStore(root)
    points = pl.concat(
        frame.select(
            ts=pl.col("start_ms").cast(pl.Int64) + offset_ms,
            price=pl.col(name).cast(pl.Decimal(38, 12)),
            id=pl.concat_str("start_ms", pl.lit(f"-{name}")),
            side=pl.lit("Buy"),
        )
        for name, offset_ms in (("open", 0), ("low", 90_000), ("high", 180_000), ("close", 290_000))
    ).sort("ts")
    shared = points.with_columns(
        hour=pl.col("ts") // HOUR_MS, ordinal=0, received=None, seq=0, update_id=pl.int_range(pl.len())
    )
    shared = shared.with_columns(
        size=pl.lit("1"),
        block=False,
        rpi=False,
        bid_price=pl.col("price") - pl.lit(tick).cast(pl.Decimal(38, 12)),
        ask_price="price",
        bid_size=pl.lit("50"),
        ask_size=pl.lit("50"),
    )
    for (hour,), own in shared.partition_by("hour", as_dict=True, maintain_order=True).items():
        for kind in (Kind.TRADES, Kind.BBO):
            store.write_part(
                kind, symbol, hour, own.select(pl.col(name).cast(of) for name, of in SCHEMAS[kind].items())
            )
