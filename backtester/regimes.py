"""Beside the result: what holding the same coins made, what other costs would have left, and how it went by regime."""

from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from alpha.indicators import Floats
from backtester.market import MarketData
from backtester.parts import sound
from backtester.result import Result, Trade
from backtester.venue import Costs

BTC = "BTCUSDT"
SLIPPAGES_BPS = (2, 5, 10, 20)
_BPS = 10_000
_DAYS = 30


@dataclass(frozen=True, slots=True)
class Held:
    """Buying and holding from the first to the last bar tested, in percent. `coins` had candles all the way."""

    bitcoin_pct: float | None
    equal_weight_pct: float | None
    coins: int


@dataclass(frozen=True, slots=True)
class Regime:
    """Trades entered in one regime: how many, their share of winners in percent, net in USDT, mean return in percent."""

    name: str
    trades: int
    winners_pct: float
    net: Decimal
    mean_return_pct: float


def held(result: Result, data: MarketData) -> Held:
    """Buy and hold of BTC, and of all coins in equal parts, each bought at the first bar tested that it has."""
    bitcoin = None
    found = []
    for symbol, known in data.bars.items():
        bars = sound(known)
        low, high = np.searchsorted(bars.start_ms, (result.from_ms, result.to_ms))
        if high - low < 2:
            continue
        change = float(bars.close[high - 1] / bars.open[low] - 1) * 100
        found.append(change)
        if symbol == BTC:
            bitcoin = change
    return Held(bitcoin, float(np.mean(found)) if found else None, len(found))


def with_costs(result: Result, costs: Costs, *, slippage_bps: float, fee_factor: float = 1.0) -> float:
    """The net in USDT of the same trades at another slippage and a multiple of the fees.

    First order: sizes and entries stay, each side of each trade is moved by the difference in slippage. A run with
    other costs compounds differently and may meet other limits.
    """
    total = 0.0
    for trade in result.trades:
        more = (slippage_bps - float(costs.slippage_of(trade.symbol))) / _BPS
        value = float(trade.entry_price * trade.size) + float(trade.exit_price * trade.size)
        total += float(trade.net) - value * more - float(trade.fees) * (fee_factor - 1.0)
    return total


def doubled(result: Result, costs: Costs) -> float:
    """The net in USDT of the same trades with fees and slippage doubled; first order, as `with_costs`."""
    total = 0.0
    for trade in result.trades:
        value = float(trade.entry_price * trade.size) + float(trade.exit_price * trade.size)
        total += float(trade.net) - value * float(costs.slippage_of(trade.symbol)) / _BPS - float(trade.fees)
    return total


def by_regime(result: Result, data: MarketData) -> list[Regime]:
    """Trades by the regime of their entry: volatility and trend of the coin over the 30 days before it.

    Volatility is the standard deviation of bar returns, high or low against the median over all entries; the trend is
    up or down by the close 30 days before. Only bars that had closed before the entry are looked at.
    """
    seen: list[tuple[Trade, float, float]] = []
    length = max(2, _DAYS * 86_400_000 // result.interval_ms)
    for symbol in {trade.symbol for trade in result.trades}:
        bars = sound(data.bars[symbol])
        for trade in result.trades:
            if trade.symbol != symbol:
                continue
            place = int(np.searchsorted(bars.start_ms, trade.entry_ms - trade.entry_ms % result.interval_ms))
            closes: Floats = bars.close[max(0, place - length) : place]
            if len(closes) < length // 2:
                continue
            returns = np.diff(closes) / closes[:-1]
            seen.append((trade, float(returns.std()), float(closes[-1] / closes[0] - 1)))
    if not seen:
        return []
    middle = float(np.median([volatility for _, volatility, _ in seen]))
    names = ("low volatility", "high volatility", "trend down", "trend up")
    sorts = (
        [trade for trade, volatility, _ in seen if volatility <= middle],
        [trade for trade, volatility, _ in seen if volatility > middle],
        [trade for trade, _, trend in seen if trend <= 0],
        [trade for trade, _, trend in seen if trend > 0],
    )
    return [
        Regime(
            name,
            len(trades),
            sum(trade.net > 0 for trade in trades) / len(trades) * 100,
            sum((trade.net for trade in trades), Decimal(0)),
            float(np.mean([trade.return_pct for trade in trades])),
        )
        for name, trades in zip(names, sorts, strict=True)
        if trades
    ]
