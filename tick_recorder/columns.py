"""Converts rows to data frames: text becomes exact decimals, column by column; rows with invalid numbers are rejected.

Rows wait as their cells in one flat list, from which a column is a slice: that costs a fifth of reading the attributes of
many rows long after they were decoded, when no cache holds them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import polars as pl

from tick_recorder.frames import Liquidation, Trade
from tick_recorder.gaps import Gap
from tick_recorder.order_book import Bbo, Depth
from tick_recorder.schema import MONEY, NUMBER, SCHEMAS, Key, Kind

Row = Trade | Bbo | Depth | Liquidation | Gap
#: The column that says which of its caller's things a row belongs to.
OWNER = "_owner"
_LEVELS = pl.List(MONEY)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that was not stored: its text as received, and why."""

    fault: str
    message: str


def _trade(row: Trade, owner: int) -> tuple[Any, ...]:
    return (
        owner, row.ts, row.received_us, row.ordinal, row.id, row.side, row.price, row.size, row.seq, row.block, row.rpi,
    )  # fmt: skip


def _bbo(row: Bbo, owner: int) -> tuple[Any, ...]:
    return (
        owner, row.ts, row.received_us, row.ordinal, row.bid_price, row.bid_size, row.ask_price, row.ask_size,
        row.update_id, row.seq,
    )  # fmt: skip


def _depth(row: Depth, owner: int) -> tuple[Any, ...]:
    sides = ([level[part] for level in side] for side in (row.bids, row.asks) for part in (0, 1))
    return (owner, row.ts, row.received_us, row.ordinal, row.snapshot, *sides, row.update_id, row.seq)


def _liquidation(row: Liquidation, owner: int) -> tuple[Any, ...]:
    return (owner, row.ts, row.received_us, row.ordinal, row.side, row.price, row.size)


def _gap(row: Gap, owner: int) -> tuple[Any, ...]:
    return (
        owner, row.ts, row.received_us, row.ordinal, row.gap_id, row.kind, row.symbol, row.until, row.reason, row.state,
    )  # fmt: skip


#: The owner, and the row's cells in the order of the kind's schema.
_CELLS: dict[Kind, Callable[[Any, int], tuple[Any, ...]]] = {
    Kind.TRADES: _trade,
    Kind.BBO: _bbo,
    Kind.DEPTH: _depth,
    Kind.LIQUIDATIONS: _liquidation,
    Kind.GAPS: _gap,
}


@dataclass(slots=True)
class Rows:
    """Rows of one kind in the order of their arrival; each belongs to one of `keys`."""

    kind: Kind
    keys: list[Key] = field(default_factory=list)
    _flat: list[Any] = field(default_factory=list)

    def owner(self, key: Key) -> int:
        """A number for the rows of a file."""
        self.keys.append(key)
        return len(self.keys) - 1

    def add(self, row: Row, owner: int) -> None:
        """One more row."""
        self._flat += _CELLS[self.kind](row, owner)

    def __len__(self) -> int:
        return len(self._flat) // (len(SCHEMAS[self.kind]) + 1)

    def to_frame(self) -> tuple[pl.DataFrame, list[Rejection]]:
        """A frame in the kind's schema and `OWNER`, and the rows that have no place in it because a price or size is not a
        number.
        """
        schema = {OWNER: pl.UInt32(), **SCHEMAS[self.kind]}
        money = [name for name, dtype in schema.items() if dtype in (MONEY, _LEVELS)]
        columns = [
            pl.Series(name, self._flat[place :: len(schema)], dtype=_RAW.get(dtype, dtype))
            for place, (name, dtype) in enumerate(schema.items())
        ]
        # one pass for all columns: with few rows a pass costs more than its rows
        frame = pl.DataFrame(columns).select(
            *(pl.col(name).cast(dtype, strict=name not in money) for name, dtype in schema.items()),
            pl.all_horizontal([_readable(name, schema[name], self.kind) for name in money] or [pl.lit(True)]).alias(
                "ok"
            ),
        )
        good = frame["ok"]
        frame = frame.drop("ok")
        if good.all():
            return frame, []
        bad = [self._rejection(number) for number, fine in enumerate(good) if not fine]
        return frame.filter(good), bad

    def _rejection(self, number: int) -> Rejection:
        names = tuple(SCHEMAS[self.kind])
        begin = number * (len(names) + 1) + 1
        shown = msgspec.json.encode(dict(zip(names, self._flat[begin : begin + len(names)], strict=True))).decode()
        return Rejection(f"A row of {self.kind} has a price or size that is not a positive decimal number.", shown)


#: As what the cells of a column are read first.
_RAW: dict[pl.DataType, pl.DataType] = {
    MONEY: pl.String(),
    _LEVELS: pl.List(pl.String()),
    **{dtype: pl.Int64() for schema in SCHEMAS.values() for dtype in schema.values() if isinstance(dtype, pl.Datetime)},
}


def _readable(name: str, dtype: pl.DataType, kind: Kind) -> pl.Expr:
    if dtype == _LEVELS:
        return pl.col(name).list.eval(pl.element().str.contains(NUMBER)).list.all()
    return pl.col(name).str.contains(NUMBER).fill_null(kind is Kind.BBO)


def to_frame(kind: Kind, rows: Iterable[Row] | Sequence[Any]) -> tuple[pl.DataFrame, list[Rejection]]:
    """A frame in the kind's schema, and the rows rejected because a price or size is not a number."""
    found = Rows(kind)
    for row in rows:
        found.add(row, 0)
    frame, bad = found.to_frame()
    return frame.drop(OWNER), bad
