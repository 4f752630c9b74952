"""Contracts on stocks, forex and commodities, whose market closes: no bars then, and no market orders.

Outside its hours a contract keeps its last price, takes limit orders, and refuses market orders (110065); on the
market's weekend it also refuses what would open or add (110023), as Bybit documents for some symbols. At the next open
the price jumps to where the generator has it.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from exchange_simulator.market.intervals import Rows

_NEW_YORK = "America/New_York"


@dataclass(frozen=True, slots=True)
class Underlying:
    """What a contract stands for: Bybit's `symbolType` and `marketRegion`, and its market's zone."""

    symbol_type: str
    region: str
    zone: str


#: Symbols of this exchange that have trading hours.
UNDERLYINGS = {
    "AAPLUSDT": Underlying("stock", "US", _NEW_YORK),
    "TSLAUSDT": Underlying("stock", "US", _NEW_YORK),
    "TENCENTUSDT": Underlying("stock", "HK", "Asia/Hong_Kong"),
    "XAUUSDT": Underlying("commodity", "", _NEW_YORK),
    "EURUSDT": Underlying("forex", "", _NEW_YORK),
}


def underlying(symbol: str) -> Underlying | None:
    """What the contract stands for; None for a coin."""
    return UNDERLYINGS.get(symbol)


def is_open(symbol: str, time_ms: int) -> bool:
    """Whether the contract trades at this time; always for a coin."""
    row = UNDERLYINGS.get(symbol)
    return row is None or any(begin <= time_ms < end for begin, end in _open_spans(row, time_ms // 86_400_000))


def is_weekend(symbol: str, time_ms: int) -> bool:
    """Whether the contract's market has its weekend; never for a coin."""
    row = UNDERLYINGS.get(symbol)
    if row is None or is_open(symbol, time_ms):
        return False
    return datetime.fromtimestamp(time_ms / 1000, ZoneInfo(row.zone)).weekday() >= 5


def trading_only(symbol: str, rows: Rows) -> Rows:
    """Those of the one-minute rows (start in column 0) that begin while the contract trades."""
    row = UNDERLYINGS.get(symbol)
    if row is None or not len(rows):
        return rows
    kept = np.zeros(len(rows), dtype=bool)
    for day in range(int(rows[0, 0]) // 86_400_000, int(rows[-1, 0]) // 86_400_000 + 1):
        for begin, end in _open_spans(row, day):
            kept |= (rows[:, 0] >= begin) & (rows[:, 0] < end)
    return rows[kept]


@lru_cache(4_096)
def _open_spans(row: Underlying, day: int) -> tuple[tuple[int, int], ...]:
    """Open spans, in UTC milliseconds, of the local days that touch a UTC day."""
    middle = datetime.fromtimestamp(day * 86_400, UTC).date()
    return tuple(
        (_stamp(row.zone, each, begin), _stamp(row.zone, each, end))
        for each in (middle - timedelta(days=1), middle, middle + timedelta(days=1))
        for begin, end in _hours(row, each.weekday())
    )


def _stamp(zone: str, day: date, hour: float) -> int:
    moment = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)) + timedelta(hours=hour)
    return int(moment.timestamp() * 1000)


def _hours(row: Underlying, weekday: int) -> tuple[tuple[float, float], ...]:
    """Local hours of a weekday (Monday is 0)."""
    if row.symbol_type == "stock":
        if weekday >= 5:
            return ()
        return ((9.5, 12), (13, 16)) if row.region == "HK" else ((9.5, 16),)
    pause = row.symbol_type == "commodity"
    if weekday == 5:
        return ()
    if weekday == 6:
        return ((18 if pause else 17, 24),)
    if weekday == 4:
        return ((0, 17),)
    return ((0, 17), (18, 24)) if pause else ((0, 24),)
