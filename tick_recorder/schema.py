"""What is stored: kinds, columns and units. Prices and sizes are exact decimals, times are UTC.

Every kind has `ts` (the exchange's time, in milliseconds), `received` (this machine's time of receipt, in microseconds;
null for imported rows) and `ordinal`, which keeps the exchange's order among rows of one millisecond.
"""

from collections.abc import Mapping
from enum import StrEnum

import polars as pl

HOUR_MS = 3_600_000
#: Of every price and size. Bybit's finest tick has ten decimals.
DECIMALS = 12
MONEY = pl.Decimal(38, DECIMALS)
TS = pl.Datetime("ms", "UTC")
RECEIVED = pl.Datetime("us", "UTC")
#: Times outside of these years are nonsense: 2010-01-01 to 2100-01-01, in milliseconds.
EARLIEST_MS, LATEST_MS = 1_262_304_000_000, 4_102_444_800_000
#: A price or size as it may come: digits, and at most as many decimals as are stored.
NUMBER = rf"^\d{{1,26}}(\.\d{{1,{DECIMALS}}})?$"


class Kind(StrEnum):
    """What a file holds. The value is the name of its folder."""

    TRADES = "trades"
    BBO = "bbo"
    DEPTH = "depth"
    LIQUIDATIONS = "liquidations"
    GAPS = "gaps"


#: Kind, symbol and hour of rows that are stored together.
Key = tuple[Kind, str, int]
#: The kinds that can be asked for.
STREAMS = (Kind.TRADES, Kind.BBO, Kind.DEPTH, Kind.LIQUIDATIONS)

_COMMON: Mapping[str, pl.DataType] = {"ts": TS, "received": RECEIVED, "ordinal": pl.UInt32()}
_LEVELS = pl.List(MONEY)

SCHEMAS: Mapping[Kind, Mapping[str, pl.DataType]] = {
    # side is the taker's: "Buy" or "Sell"
    Kind.TRADES: {
        **_COMMON,
        "id": pl.String(),
        "side": pl.String(),
        "price": MONEY,
        "size": MONEY,
        "seq": pl.Int64(),
        "block": pl.Boolean(),
        "rpi": pl.Boolean(),
    },
    # a side without any order is null
    Kind.BBO: {
        **_COMMON,
        "bid_price": MONEY,
        "bid_size": MONEY,
        "ask_price": MONEY,
        "ask_size": MONEY,
        "update_id": pl.Int64(),
        "seq": pl.Int64(),
    },
    # a snapshot holds every level, best first; else only what changed, size 0 for a level that is gone
    Kind.DEPTH: {
        **_COMMON,
        "snapshot": pl.Boolean(),
        "bid_prices": _LEVELS,
        "bid_sizes": _LEVELS,
        "ask_prices": _LEVELS,
        "ask_sizes": _LEVELS,
        "update_id": pl.Int64(),
        "seq": pl.Int64(),
    },
    # side is that of the position that was liquidated, price its bankruptcy price
    Kind.LIQUIDATIONS: {**_COMMON, "side": pl.String(), "price": MONEY, "size": MONEY},
    # ts is the last time before the gap, until the first after it (null while it lasts)
    Kind.GAPS: {
        **_COMMON,
        "gap_id": pl.String(),
        "kind": pl.String(),
        "symbol": pl.String(),
        "until": TS,
        "reason": pl.String(),
        "state": pl.String(),
    },
}


def empty(kind: Kind) -> pl.DataFrame:
    """A frame of this kind without rows."""
    return pl.DataFrame(schema=dict(SCHEMAS[kind]))


def hour_of(ts_ms: int) -> int:
    """The hour that `ts_ms` belongs to, in hours since 1970 UTC."""
    return ts_ms // HOUR_MS
