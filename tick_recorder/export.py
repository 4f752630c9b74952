"""Ticks in other forms: CSV, line protocol, and the arrays of hftbacktest."""

from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alpha.errors import Misconfigured, shown
from tick_recorder.influx.lines import COUNTED, to_lines
from tick_recorder.inspect import held
from tick_recorder.read import read_ticks
from tick_recorder.schema import Kind
from tick_recorder.store import TickStore

FORMATS = ("csv", "npz", "line-protocol")
#: hftbacktest's `event_dtype`, version 2: times in nanoseconds.
EVENT = np.dtype(
    [
        ("ev", "<u8"),
        ("exch_ts", "<i8"),
        ("local_ts", "<i8"),
        ("px", "<f8"),
        ("qty", "<f8"),
        ("order_id", "<u8"),
        ("ival", "<i8"),
        ("fval", "<f8"),
    ],
    align=True,
)
_DEPTH, _TRADE, _CLEAR, _SNAPSHOT = 1, 2, 3, 4
_EXCHANGE, _LOCAL, _BUY, _SELL = 1 << 31, 1 << 30, 1 << 29, 1 << 28
_BOTH = _EXCHANGE | _LOCAL


def export(
    folder: Path, form: str, kind: Kind, symbol: str, start: datetime | None, end: datetime | None, target: Path
) -> int:
    """Write rows into `target`; returns how many. Misconfigured for a form or kind that does not go together, and
    where nothing is stored of what was asked for.

    `npz` takes trades and, where they are recorded, the order book (depth, else the best bid and offer) into one array
    named `data`, ordered by time of receipt as hftbacktest wants it.
    """
    if form not in FORMATS:
        raise Misconfigured(f"{form!r} is not a form of export. The forms are: {', '.join(FORMATS)}.")
    if form == "line-protocol" and kind not in COUNTED:
        raise Misconfigured(f"{kind} has no line protocol. It exists for: {', '.join(COUNTED)}.")
    if form == "npz":
        data = events(folder, symbol, start, end)
        if not len(data):
            raise _nothing(folder, (Kind.TRADES, Kind.DEPTH, Kind.BBO), symbol)
        np.savez_compressed(target, data=data)
        return len(data)
    frame = read_ticks(folder, kind, symbol, start, end)
    if not len(frame):
        raise _nothing(folder, (kind,), symbol)
    if form == "csv":
        lists = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.List)]
        joined = (pl.col(name).cast(pl.List(pl.String)).list.join(" ") for name in lists)
        frame.with_columns(joined).write_csv(target)
    else:
        lines = to_lines(kind, symbol, frame)
        target.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(frame)


def _nothing(folder: Path, kinds: tuple[Kind, ...], symbol: str) -> Misconfigured:
    """What is stored instead: the span of the symbol, or the symbols that there are."""
    stored = [one for one in held(TickStore(folder)) if one.kind in kinds]
    mine = [one for one in stored if one.symbol == symbol]
    words = " or ".join(kinds)
    if not mine:
        others = ", ".join(sorted({one.symbol for one in stored})[:30]) or "no symbol"
        return Misconfigured(f"{folder} has no {words} of {shown(symbol)}. It has those of {others}.")
    first, last = min(one.first for one in mine), max(one.last for one in mine)
    return Misconfigured(
        f"{folder} has no {words} of {symbol} between --from and --to. Stored are {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC."
    )


def events(folder: Path, symbol: str, start: datetime | None, end: datetime | None) -> NDArray[np.void]:
    """Trades and order book as hftbacktest's events, one row for each level that changed.

    A snapshot begins with the clearing of both sides. Rows without a time of receipt (imported, say) are taken as received
    when they happened.
    """
    parts = [_trades(read_ticks(folder, Kind.TRADES, symbol, start, end))]
    depth = read_ticks(folder, Kind.DEPTH, symbol, start, end)
    parts.append(_depth(depth) if len(depth) else _bbo(read_ticks(folder, Kind.BBO, symbol, start, end)))
    found = np.concatenate(parts)
    # no event is received before it happened, however the two clocks differ
    late = int((found["exch_ts"] - found["local_ts"]).max()) if len(found) else 0
    if late > 0:
        found["local_ts"] += late
    # received in the order in which it happened: with one connection that is so, up to the exchange's rounding to ms
    order = np.argsort(found["local_ts"], kind="stable")
    found = found[order]
    found["exch_ts"] = np.minimum(np.maximum.accumulate(found["exch_ts"]), found["local_ts"]) if len(found) else []
    return found


def _times(frame: pl.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    happened = frame["ts"].dt.timestamp("ns").to_numpy()
    received = frame.select(pl.col("received").dt.timestamp("ns").fill_null(pl.col("ts").dt.timestamp("ns")))
    return happened, received.to_series().to_numpy()


def _rows(events_: NDArray[np.uint64], happened: NDArray[np.int64], received: NDArray[np.int64],
          price: NDArray[np.float64], size: NDArray[np.float64]) -> NDArray[np.void]:  # fmt: skip
    found = np.zeros(len(events_), dtype=EVENT)
    found["ev"], found["exch_ts"], found["local_ts"] = events_, happened, received
    found["px"], found["qty"] = price, size
    return found


def _trades(frame: pl.DataFrame) -> NDArray[np.void]:
    happened, received = _times(frame)
    kind = np.where(frame["side"].to_numpy() == "Buy", _BUY, _SELL).astype(np.uint64) | np.uint64(_BOTH | _TRADE)
    return _rows(
        kind, happened, received, frame["price"].cast(pl.Float64).to_numpy(), frame["size"].cast(pl.Float64).to_numpy()
    )


def _bbo(frame: pl.DataFrame) -> NDArray[np.void]:
    """The book of one level: where the best price changes the level before it is gone."""
    frame = frame.sort("ts", "ordinal")
    parts = []
    for name, side in (("bid", _BUY), ("ask", _SELL)):
        changed = frame.with_columns(before=pl.col(f"{name}_price").shift())
        new = changed.filter(pl.col(f"{name}_price").is_not_null())
        gone = changed.filter(
            pl.col("before").is_not_null()
            & (pl.col(f"{name}_price").is_null() | (pl.col("before") != pl.col(f"{name}_price")))
        )
        for rows, price, size in ((gone, "before", None), (new, f"{name}_price", f"{name}_size")):
            happened, received = _times(rows)
            sizes = np.zeros(len(rows)) if size is None else rows[size].cast(pl.Float64).to_numpy()
            kind = np.full(len(rows), _BOTH | side | _DEPTH, dtype=np.uint64)
            parts.append(_rows(kind, happened, received, rows[price].cast(pl.Float64).to_numpy(), sizes))
    return np.concatenate(parts)


def _depth(frame: pl.DataFrame) -> NDArray[np.void]:
    parts = []
    for row in frame.sort("ts", "ordinal").iter_rows(named=True):
        happened = int(row["ts"].timestamp() * 1_000) * 1_000_000
        received = happened if row["received"] is None else round(row["received"].timestamp() * 1_000_000) * 1_000
        lines: list[tuple[int, float, float]] = []
        for side, name in ((_BUY, "bid"), (_SELL, "ask")):
            prices, sizes = row[f"{name}_prices"], row[f"{name}_sizes"]
            if row["snapshot"] and prices:
                # clears up to the worst level of the snapshot
                lines.append((_BOTH | side | _CLEAR, float(prices[-1]), 0.0))
            kind = _BOTH | side | (_SNAPSHOT if row["snapshot"] else _DEPTH)
            lines += [(kind, float(price), float(size)) for price, size in zip(prices, sizes, strict=True)]
        part = np.zeros(len(lines), dtype=EVENT)
        part["exch_ts"], part["local_ts"] = happened, received
        for field, position in (("ev", 0), ("px", 1), ("qty", 2)):
            part[field] = [line[position] for line in lines]
        parts.append(part)
    return np.concatenate(parts)
