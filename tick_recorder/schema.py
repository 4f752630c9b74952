"""The schema of stored ticks: kinds, columns and units. Prices and sizes are exact decimals, times are UTC.

Every kind has `ts` (exchange time, milliseconds), `received` (local receipt time, microseconds; null for imported rows) and
`ordinal`, which preserves the exchange's order among rows of the same millisecond.
"""

from collections.abc import Mapping
from enum import StrEnum

import polars as pl

HOUR_MS = 3_600_000
#: Decimal places of every price and size. Bybit's finest tick has ten.
DECIMALS = 12
MONEY = pl.Decimal(38, DECIMALS)
TS = pl.Datetime("ms", "UTC")
RECEIVED = pl.Datetime("us", "UTC")
#: Plausible timestamps: 2010-01-01 to 2100-01-01, in milliseconds.
EARLIEST_MS, LATEST_MS = 1_262_304_000_000, 4_102_444_800_000
#: A valid price or size: digits, with at most as many decimals as are stored.
NUMBER = rf"^\d{{1,26}}(\.\d{{1,{DECIMALS}}})?$"


class Kind(StrEnum):
    """The kind of rows in a file. The value is its folder's name."""

    TRADES = "trades"
    BBO = "bbo"
    DEPTH = "depth"
    LIQUIDATIONS = "liquidations"
    GAPS = "gaps"


#: Kind, symbol and hour of rows that are stored together.
Key = tuple[Kind, str, int]
#: The kinds that can be recorded.
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
    # a side without orders is null
    Kind.BBO: {
        **_COMMON,
        "bid_price": MONEY,
        "bid_size": MONEY,
        "ask_price": MONEY,
        "ask_size": MONEY,
        "update_id": pl.Int64(),
        "seq": pl.Int64(),
    },
    # a snapshot has every level, best first; a delta only the changed ones, with size 0 for removed levels
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
    # side is that of the liquidated position, price its bankruptcy price
    Kind.LIQUIDATIONS: {**_COMMON, "side": pl.String(), "price": MONEY, "size": MONEY},
    # ts is the last time before the gap, until the first after it (null while open)
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
    """An empty frame of this kind."""
    return pl.DataFrame(schema=dict(SCHEMAS[kind]))


def hour_of(ts_ms: int) -> int:
    """The hour of `ts_ms`, counted from 1970 UTC."""
    return ts_ms // HOUR_MS
