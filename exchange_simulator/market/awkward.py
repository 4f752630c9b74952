"""Contracts as an exchange has them beside the easy ones, and what happens to them while it runs.

The filters of the usual symbols never bind a client; these do. Times count from the start of trading.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from exchange_simulator.market.model import HOUR_MS, Instrument

LARGE_MINIMUM = "LARGEMINUSDT"  # the smallest order is ten steps
SMALL_MARKET = "SMALLMKTUSDT"  # a market order of fifty steps at most, a limit order of 500
COARSE_TICK = "TICKUSDT"  # orders get a tick ten times as coarse
PRE_MARKET = "PREMARKETUSDT"  # trades before its launch, with little leverage, then normally
DELISTED = "DELISTEDUSDT"  # its end is announced, then it is delivered
SYMBOLS = (LARGE_MINIMUM, SMALL_MARKET, COARSE_TICK, PRE_MARKET, DELISTED, "1000PEPEUSDT", "BTCUSDT", "BTCPERP")

TICK_CHANGES_MS = 6 * HOUR_MS
LAUNCH_MS = 12 * HOUR_MS
DELIVERY_ANNOUNCED_MS = 12 * HOUR_MS
DELIVERY_MS = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of an instrument at a time: new values of its fields."""

    time_ms: int
    symbol: str
    values: Mapping[str, Any]


def filters(instrument: Instrument) -> Instrument:
    """An awkward symbol with the filters that it is there for; any other one unchanged."""
    step = instrument.qty_step
    if instrument.symbol == LARGE_MINIMUM:
        return replace(instrument, min_order_qty=step * 10)
    if instrument.symbol == SMALL_MARKET:
        return replace(instrument, max_mkt_order_qty=step * 50, max_order_qty=step * 500)
    if instrument.symbol == PRE_MARKET:
        return replace(instrument, pre_market=True, max_leverage=instrument.min_leverage * 5)
    return instrument


def changes(usual: Mapping[str, Instrument], start_ms: int) -> tuple[Change, ...]:
    """What happens to the awkward symbols among `usual` (with the filters of normal trading), oldest first."""
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
