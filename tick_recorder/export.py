"""Exports ticks as CSV, line protocol, or arrays for hftbacktest."""

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
    """Write rows to `target`; returns how many. Misconfigured if the form does not support the kind, or if nothing is
    stored for the request.

    `npz` merges trades and, if recorded, the order book (depth, otherwise best bid and offer) into one array named
    `data`, ordered by receipt time as hftbacktest requires.
    """
    if form not in FORMATS:
        raise Misconfigured(f"Export format must be one of {', '.join(FORMATS)}, got {form!r}.")
    if form == "line-protocol" and kind not in COUNTED:
        raise Misconfigured(f"Line protocol supports {', '.join(COUNTED)}, not {kind}.")
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
    """The error naming what is stored instead: the symbol's time range, or other symbols."""
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
    """Trades and order book as hftbacktest events, one row per changed level.

    A snapshot begins by clearing both sides. Rows without a receipt time (imported ones) count as received at the time of
    the event.
    """
    parts = [_trades(read_ticks(folder, Kind.TRADES, symbol, start, end))]
    depth = read_ticks(folder, Kind.DEPTH, symbol, start, end)
    parts.append(_depth(depth) if len(depth) else _bbo(read_ticks(folder, Kind.BBO, symbol, start, end)))
    found = np.concatenate(parts)
    # an event cannot be received before it happened, even if the two clocks differ
    late = int((found["exch_ts"] - found["local_ts"]).max()) if len(found) else 0
    if late > 0:
        found["local_ts"] += late
    # one connection delivers events in the order in which they happened, up to the exchange's rounding to ms
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
    """A one-level book: when the best price changes, the previous level is removed."""
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
                # clear down to the worst level of the snapshot
                lines.append((_BOTH | side | _CLEAR, float(prices[-1]), 0.0))
            kind = _BOTH | side | (_SNAPSHOT if row["snapshot"] else _DEPTH)
            lines += [(kind, float(price), float(size)) for price, size in zip(prices, sizes, strict=True)]
        part = np.zeros(len(lines), dtype=EVENT)
        part["exch_ts"], part["local_ts"] = happened, received
        for field, position in (("ev", 0), ("px", 1), ("qty", 2)):
            part[field] = [line[position] for line in lines]
        parts.append(part)
    return np.concatenate(parts)
