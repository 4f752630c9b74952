"""The names of all Redis keys. No other module spells one."""

from alpha.model.coin import USDT

CANDLES_KEPT = 5_000
EVENTS_KEPT = 10_000
ALERTS_KEPT = 10_000
INDICATORS_KEPT = 500


def position(bot: str, slot: str) -> str:
    """Hash: one position. `slot` is the symbol, in hedge mode with `:long` or `:short`.

    A flat one remains, with size 0, so that an old update cannot revive it.
    """
    return f"position:{bot}:{slot}"


def positions(bot: str) -> str:
    """Set: the symbols with an open position, in hedge mode with their leg (`BTCUSDT:long`)."""
    return f"positions:{bot}"


def symbols(bot: str) -> str:
    """Set, written by the strategy: the symbols it follows. The listener streams their market data."""
    return f"symbols:{bot}"


def orders(bot: str) -> str:
    """Hash: order id to JSON of each open order."""
    return f"orders:{bot}"


def wallet(bot: str, coin: str = USDT) -> str:
    """Hash: coin, equity, wallet_balance, available, unrealised_pnl, updated_at; `wallet:<bot>` is USDT."""
    return f"wallet:{bot}" if coin == USDT else f"wallet:{bot}:{coin}"


def status(bot: str) -> str:
    """Hash, written by the listener: state (synced, stale, down) and its times."""
    return f"status:{bot}"


def events(bot: str) -> str:
    """Stream: every fill, order, position, wallet and status change, in order, at least once."""
    return f"events:{bot}"


def heartbeat(bot: str) -> str:
    """Hash, written by the strategy: time of the last heartbeat, and what it waits for."""
    return f"heartbeat:{bot}"


def control(target: str) -> str:
    """Stream: commands for a bot (in its database) or for the guard ("guard", in database 15)."""
    return f"control:{target}"


def control_replies(target: str) -> str:
    """Stream: the answers to commands, in the same database as the commands."""
    return f"control_replies:{target}"


def market(symbol: str) -> str:
    """Hash in database 15: last, mark, bid, ask, funding_rate, next_funding_at, updated_at."""
    return f"market:{symbol}"


def candles(symbol: str, interval: str) -> str:
    """List in database 15: the last 5,000 closed candles as JSON, oldest first. `interval` as in Bybit's API ("5")."""
    return f"candles:{symbol}:{interval}"


def intervals(bot: str) -> str:
    """Set, written by the strategy with `symbols`: the candle intervals it follows, in Bybit's notation."""
    return f"intervals:{bot}"


def indicators(bot: str, symbol: str) -> str:
    """List, written by the strategy: what it computed at each of the last 500 bars, oldest first, as JSON objects.

    Of symbols that the bot trades; it expires 30 days after the last bar.
    """
    return f"indicators:{bot}:{symbol}"


def analysis(symbol: str, interval: str) -> str:
    """Hash in database 15, written by the analysis service: the newest candle's values, votes and rating."""
    return f"analysis:{symbol}:{interval}"


#: The interval of `analysis` that stands for the mean of all.
ALL_INTERVALS = "all"
#: Stream in database 15: every new analysis. Set: the symbols that are analysed.
ANALYSIS_EVENTS = "analysis:events"
ANALYSIS_SYMBOLS = "analysis:symbols"
#: String in database 15: announced maintenance of the exchange, as JSON.
MAINTENANCE = "venue:maintenance"
ALERTS = "alerts"
EVENTS_CHANNEL = "alpha:events"
GUARD = "guard"
