"""Rows of the stream to frames: text becomes exact decimals, column by column, and what is no number is set aside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl

from tick_recorder.frames import Liquidation, Trade
from tick_recorder.gaps import Gap
from tick_recorder.order_book import Bbo, Depth
from tick_recorder.schema import MONEY, NUMBER, RECEIVED, SCHEMAS, TS, Kind

Row = Trade | Bbo | Depth | Liquidation | Gap
_MONEY_COLUMNS = {
    Kind.TRADES: ("price", "size"),
    Kind.BBO: ("bid_price", "bid_size", "ask_price", "ask_size"),
    Kind.LIQUIDATIONS: ("price", "size"),
    Kind.GAPS: (),
}


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that was not stored: as it came, and why not."""

    fault: str
    message: str


def to_frame(kind: Kind, rows: Sequence[Any]) -> tuple[pl.DataFrame, list[Rejection]]:
    """A frame in the kind's schema, and the rows that have no place in it because a price or size is not a number."""
    if kind is Kind.DEPTH:
        return _depth(rows)
    money = _MONEY_COLUMNS[kind]
    schema = SCHEMAS[kind]
    # one pass for all columns: with few rows per file a pass costs more than its rows
    readable = [pl.col(name).str.contains(NUMBER).fill_null(kind is Kind.BBO) for name in money] or [pl.lit(True)]
    frame = pl.DataFrame(_COLUMNS[kind](rows)).select(
        *(pl.col(name).cast(dtype, strict=name not in money) for name, dtype in schema.items()),
        pl.all_horizontal(readable).alias("readable"),
    )
    good = frame["readable"]
    frame = frame.drop("readable")
    if good.all():
        return frame, []
    bad = [_rejection(kind, row) for row, fine in zip(rows, good, strict=True) if not fine]
    return frame.filter(good), bad


def _rejection(kind: Kind, row: Any) -> Rejection:
    shown = msgspec.json.encode(row).decode()
    return Rejection(f"A row of {kind} has a price or size that is not a positive decimal number.", shown)


def _common(rows: Sequence[Any]) -> dict[str, pl.Series]:
    return {
        "ts": pl.Series([row.ts for row in rows], dtype=pl.Int64).cast(TS),
        "received": pl.Series([row.received_us for row in rows], dtype=pl.Int64).cast(RECEIVED),
        "ordinal": pl.Series([row.ordinal for row in rows], dtype=pl.UInt32),
    }


def _trades(rows: Sequence[Trade]) -> dict[str, pl.Series]:
    return {
        **_common(rows),
        "id": pl.Series([row.id for row in rows], dtype=pl.String),
        "side": pl.Series([row.side for row in rows], dtype=pl.String),
        "price": pl.Series([row.price for row in rows], dtype=pl.String),
        "size": pl.Series([row.size for row in rows], dtype=pl.String),
        "seq": pl.Series([row.seq for row in rows], dtype=pl.Int64),
        "block": pl.Series([row.block for row in rows], dtype=pl.Boolean),
        "rpi": pl.Series([row.rpi for row in rows], dtype=pl.Boolean),
    }


def _bbo(rows: Sequence[Bbo]) -> dict[str, pl.Series]:
    def level(side: str, part: int) -> pl.Series:
        levels = [getattr(row, side) for row in rows]
        return pl.Series([None if found is None else found[part] for found in levels], dtype=pl.String)

    return {
        **_common(rows),
        "bid_price": level("bid", 0),
        "bid_size": level("bid", 1),
        "ask_price": level("ask", 0),
        "ask_size": level("ask", 1),
        "update_id": pl.Series([row.update_id for row in rows], dtype=pl.Int64),
        "seq": pl.Series([row.seq for row in rows], dtype=pl.Int64),
    }


def _liquidations(rows: Sequence[Liquidation]) -> dict[str, pl.Series]:
    return {
        **_common(rows),
        "side": pl.Series([row.side for row in rows], dtype=pl.String),
        "price": pl.Series([row.price for row in rows], dtype=pl.String),
        "size": pl.Series([row.size for row in rows], dtype=pl.String),
    }


def _gaps(rows: Sequence[Gap]) -> dict[str, pl.Series]:
    return {
        **_common(rows),
        "gap_id": pl.Series([row.gap_id for row in rows], dtype=pl.String),
        "kind": pl.Series([row.kind for row in rows], dtype=pl.String),
        "symbol": pl.Series([row.symbol for row in rows], dtype=pl.String),
        "until": pl.Series([row.until for row in rows], dtype=pl.Int64).cast(TS),
        "reason": pl.Series([row.reason for row in rows], dtype=pl.String),
        "state": pl.Series([row.state for row in rows], dtype=pl.String),
    }


_COLUMNS: dict[Kind, Callable[[Any], dict[str, pl.Series]]] = {
    Kind.TRADES: _trades,
    Kind.BBO: _bbo,
    Kind.LIQUIDATIONS: _liquidations,
    Kind.GAPS: _gaps,
}


def _depth(rows: Sequence[Depth]) -> tuple[pl.DataFrame, list[Rejection]]:
    def levels(side: str, part: int) -> pl.Series:
        texts = [[level[part] for level in getattr(row, side)] for row in rows]
        return pl.Series(texts, dtype=pl.List(pl.String))

    lists = {
        f"{side[:-1]}_{name}": levels(side, part)
        for side in ("bids", "asks")
        for part, name in enumerate(("prices", "sizes"))
    }
    number = pl.element().str.contains(NUMBER)
    frame = pl.DataFrame(lists)
    good = frame.select(pl.all_horizontal(pl.col(name).list.eval(number).list.all() for name in lists)).to_series()
    bad = [_rejection(Kind.DEPTH, row) for row, fine in zip(rows, good, strict=True) if not fine]
    whole = pl.DataFrame(
        {
            **_common(rows),
            "snapshot": pl.Series([row.snapshot for row in rows], dtype=pl.Boolean),
            "update_id": pl.Series([row.update_id for row in rows], dtype=pl.Int64),
            "seq": pl.Series([row.seq for row in rows], dtype=pl.Int64),
        }
    ).hstack(frame)
    kept = whole.filter(good)
    return kept.select(
        pl.col(name).cast(pl.List(MONEY) if name in lists else dtype) for name, dtype in SCHEMAS[Kind.DEPTH].items()
    ), bad
