"""The market side of the exchange: where prices come from.

Three sources share one shape (`model.Market`): a seeded generator, recorded candles, and another exchange's live stream
(`model.LiveMarket`).
"""

from exchange_simulator.market.model import (
    PATHS,
    Bar,
    Instrument,
    LiveMarket,
    Market,
    MarketError,
    Path,
    Quote,
    RiskTier,
    Tick,
    merge,
    turnover,
    walk,
)

__all__ = [
    "PATHS",
    "Bar",
    "Instrument",
    "LiveMarket",
    "Market",
    "MarketError",
    "Path",
    "Quote",
    "RiskTier",
    "Tick",
    "merge",
    "turnover",
    "walk",
]
