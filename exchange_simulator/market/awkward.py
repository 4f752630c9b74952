"""Contracts with restrictive filters, and the changes they go through while the exchange runs.

The filters of the usual symbols never constrain a client; these do. Times are relative to the start of trading.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from exchange_simulator.market.model import HOUR_MS, Instrument

LARGE_MINIMUM = "LARGEMINUSDT"  # the smallest order is ten steps
SMALL_MARKET = "SMALLMKTUSDT"  # market orders of at most 50 steps, limit orders of at most 500
COARSE_TICK = "TICKUSDT"  # its order tick becomes ten times as coarse
PRE_MARKET = "PREMARKETUSDT"  # pre-market with low leverage, then normal trading
DELISTED = "DELISTEDUSDT"  # its delisting is announced, then it is delivered
SYMBOLS = (LARGE_MINIMUM, SMALL_MARKET, COARSE_TICK, PRE_MARKET, DELISTED, "1000PEPEUSDT", "BTCUSDT", "BTCPERP")

TICK_CHANGES_MS = 6 * HOUR_MS
LAUNCH_MS = 12 * HOUR_MS
DELIVERY_ANNOUNCED_MS = 12 * HOUR_MS
DELIVERY_MS = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Change:
    """A scheduled change of an instrument: new values of some fields."""

    time_ms: int
    symbol: str
    values: Mapping[str, Any]


def filters(instrument: Instrument) -> Instrument:
    """Applies the filters of an awkward symbol; returns any other instrument unchanged."""
    step = instrument.qty_step
    if instrument.symbol == LARGE_MINIMUM:
        return replace(instrument, min_order_qty=step * 10)
    if instrument.symbol == SMALL_MARKET:
        return replace(instrument, max_mkt_order_qty=step * 50, max_order_qty=step * 500)
    if instrument.symbol == PRE_MARKET:
        return replace(instrument, pre_market=True, max_leverage=instrument.min_leverage * 5)
    return instrument


def changes(usual: Mapping[str, Instrument], start_ms: int) -> tuple[Change, ...]:
    """Scheduled changes of the awkward symbols in `usual` (filters of normal trading), oldest first."""
    found: list[Change] = []
    if tick := usual.get(COARSE_TICK):
        found.append(Change(start_ms + TICK_CHANGES_MS, tick.symbol, {"order_tick": tick.tick_size * 10}))
    if launched := usual.get(PRE_MARKET):
        values = {"pre_market": False, "max_leverage": launched.max_leverage, "launch_ms": start_ms + LAUNCH_MS}
        found.append(Change(start_ms + LAUNCH_MS, launched.symbol, values))
    if gone := usual.get(DELISTED):
        values = {"delivery_ms": start_ms + DELIVERY_MS}
        found.append(Change(start_ms + DELIVERY_ANNOUNCED_MS, gone.symbol, values))
    return tuple(sorted(found, key=lambda change: change.time_ms))
