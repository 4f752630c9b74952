"""Market data of the exchange: the sources of prices.

Three sources share one interface (`model.Market`): a seeded generator, recorded candles, and another exchange's live
stream (`model.LiveMarket`).
"""

from exchange_simulator.market.catalogue import DEFAULT_SYMBOLS
from exchange_simulator.market.generator import GeneratedMarket
from exchange_simulator.market.live import BybitMarket
from exchange_simulator.market.model import (
    PATHS,
    Bar,
    Instrument,
    LiveMarket,
    Market,
    MarketError,
    Minute,
    Moment,
    Path,
    Quote,
    RiskTier,
    Tick,
    merge,
    turnover,
    walk,
)
from exchange_simulator.market.replay import ReplayMarket, open_folder

__all__ = [
    "DEFAULT_SYMBOLS",
    "PATHS",
    "Bar",
    "BybitMarket",
    "GeneratedMarket",
    "Instrument",
    "LiveMarket",
    "Market",
    "MarketError",
    "Minute",
    "Moment",
    "Path",
    "Quote",
    "ReplayMarket",
    "RiskTier",
    "Tick",
    "merge",
    "open_folder",
    "turnover",
    "walk",
]
