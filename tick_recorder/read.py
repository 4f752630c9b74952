"""Reads ticks as polars frames. The columns of each kind are in `tick_recorder.schema`.

from datetime import UTC, datetime
from tick_recorder.read import read_ticks
trades = read_ticks("ticks", "trades", "BTCUSDT", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
"""

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from alpha.errors import Misconfigured, Rejected
from alpha.model.timestamp import ms_of
from tick_recorder.gaps import GapState
from tick_recorder.schema import Kind, empty, hour_of
from tick_recorder.store import TickStore
from tick_recorder.stored import all_gaps


def read_ticks(
    folder: Path | str,
    kind: Kind | str,
    symbol: str,
    start: datetime | None = None,
    end: datetime | None = None,
    *,
    whole: bool = False,
) -> pl.DataFrame:
    """The rows of a kind and symbol from `start` to `end` (aware; the end is exclusive), by time and ordinal.

    With `whole`, a range with gaps is Rejected, naming the first. Also Rejected for an unreadable file, Misconfigured for an
    unknown kind, ValueError for a naive datetime.
    """
    store, kind = TickStore(Path(folder)), kind_of(kind)
    first = 0 if start is None else hour_of(ms_of(start))
    last = 1 << 40 if end is None else hour_of(ms_of(end - timedelta(milliseconds=1)))
    frames = [file.read() for file in store.files(kind, symbol, first, last)]
    found = pl.concat(frames) if frames else empty(kind)
    if start is not None:
        found = found.filter(pl.col("ts") >= start)
    if end is not None:
        found = found.filter(pl.col("ts") < end)
    if whole:
        holes = read_gaps(folder, symbol, kind, start, end)
        if len(holes):
            row = holes.row(0, named=True)
            until = "now" if row["until"] is None else f"{row['until']:%Y-%m-%d %H:%M:%S}"
            raise Rejected(
                f"{kind} of {symbol} have {len(holes)} gaps there; the first from {row['ts']:%Y-%m-%d %H:%M:%S} to {until}: "
                f"{row['reason']}."
            )
    return found.sort("ts", "ordinal")


def read_gaps(
    folder: Path | str,
    symbol: str | None = None,
    kind: Kind | str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> pl.DataFrame:
    """The gaps with missing rows, by time, optionally of one symbol and kind and overlapping `start` to `end`.

    Rows after `ts` and before `until` were not received; `until` is null for an open gap.
    """
    found = all_gaps(TickStore(Path(folder)), symbol).filter(pl.col("state") != GapState.FILLED)
    if kind is not None:
        found = found.filter(pl.col("kind") == kind_of(kind))
    if end is not None:
        found = found.filter(pl.col("ts") < end)
    if start is not None:
        found = found.filter(pl.col("until").is_null() | (pl.col("until") > start))
    return found


def kind_of(name: Kind | str) -> Kind:
    """The kind with this name; Misconfigured, listing the choices, if there is none."""
    try:
        return Kind(name)
    except ValueError:
        raise Misconfigured(f"Kind of ticks must be one of {', '.join(Kind)}, got {name!r}.") from None
