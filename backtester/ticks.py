"""Back-tests on recorded ticks: orders meet the trades and quotes that were, instead of the walk of a candle.

The rules are those of the simulated exchange on the same ticks (`exchange_simulator.tick_timeline`): a taker gets the best
price of its moment, what exceeds its size one tick further; a resting order fills by a trade through it by a tick or by the
opposite quote reaching it; stops fire by a trade. A bar in which ticks are missing is walked by its candle, if that was asked
for.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from heapq import merge
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alpha.errors import Misconfigured
from alpha.indicators import Floats
from alpha.model.money import ZERO
from alpha.model.side import Direction
from alpha.strategy.bars import to_decimal
from backtester.candles import moment
from backtester.resting import RestingVenue
from exchange_simulator.tick_files import QUOTES, TRADES, TickFault, TickFolder, polars

REFUSE, CANDLES = "refuse", "candles"
_MINUTE_MS = 60_000
_ENDLESS_MS = 1 << 60
_PRICES = ("bid_price", "bid_size", "ask_price", "ask_size")


class Quote(NamedTuple):
    """A best bid and offer; NaN for an empty side."""

    bid: float
    bid_size: float
    ask: float
    ask_size: float


class Event(NamedTuple):
    """A trade (`quote` False) or a quote. `row` is its place among its symbol's ticks. Sorts by time, trades first."""

    time_ms: int
    quote: bool
    symbol: str
    row: int


@dataclass(frozen=True, slots=True)
class SymbolTicks:
    """The ticks of one symbol in order; columns of one length. `trade` and `best` are the rows in force at each row, or -1."""

    time_ms: NDArray[np.int64]
    quote: NDArray[np.bool_]
    price: Floats
    quotes: Floats  # shape (n, 4): the columns of Quote
    trade: NDArray[np.int64]
    best: NDArray[np.int64]
    missing: tuple[tuple[int, int, str], ...]  # from, until (UTC milliseconds), why

    def before(self, time_ms: int) -> tuple[float | None, Quote | None]:
        """The last trade's price and the quote just before a time."""
        row = int(np.searchsorted(self.time_ms, time_ms)) - 1
        trade, best = (-1, -1) if row < 0 else (int(self.trade[row]), int(self.best[row]))
        return None if trade < 0 else float(self.price[trade]), None if best < 0 else self.quote_at(best)

    def quote_at(self, row: int) -> Quote:
        """The quote of a row."""
        return Quote(*self.quotes[row].tolist())

    def gap(self, from_ms: int, to_ms: int) -> tuple[int, int, str] | None:
        """The first span in which ticks are missing between two times."""
        return next((one for one in self.missing if one[0] < to_ms and one[1] > from_ms), None)


class RecordedTicks:
    """The ticks of a back-test, by symbol."""

    def __init__(self, by_symbol: Mapping[str, SymbolTicks]) -> None:
        self.by_symbol = dict(by_symbol)

    def span(self, interval_ms: int) -> tuple[int, int]:
        """The whole bars of which every symbol has ticks: the first start and the last end."""
        starts = [int(one.time_ms[0]) // _MINUTE_MS * _MINUTE_MS for one in self.by_symbol.values()]
        ends = [int(one.time_ms[-1]) // _MINUTE_MS * _MINUTE_MS + _MINUTE_MS for one in self.by_symbol.values()]
        return -(-max(starts) // interval_ms) * interval_ms, min(ends) // interval_ms * interval_ms

    def events(self, symbols: Iterable[str], from_ms: int, to_ms: int) -> Iterator[Event]:
        """The ticks of these symbols between two times, in the order of the simulated exchange."""
        return merge(*(self._events(symbol, from_ms, to_ms) for symbol in symbols))

    def _events(self, symbol: str, from_ms: int, to_ms: int) -> list[Event]:
        ticks = self.by_symbol[symbol]
        low, high = (int(place) for place in np.searchsorted(ticks.time_ms, (from_ms, to_ms)))
        times, quotes = ticks.time_ms[low:high].tolist(), ticks.quote[low:high].tolist()
        return [
            Event(time_ms, quote, symbol, low + row)
            for row, (time_ms, quote) in enumerate(zip(times, quotes, strict=True))
        ]

    def refuse_gaps(self, from_ms: int, to_ms: int) -> None:
        """Misconfigured, naming the first, when ticks are missing between two times."""
        found = [(gap, symbol) for symbol, one in self.by_symbol.items() if (gap := one.gap(from_ms, to_ms))]
        if found:
            (start, until, why), symbol = min(found)
            first, last = moment(max(start, from_ms)), moment(min(until, to_ms))
            raise Misconfigured(
                f"Ticks of {symbol} are missing from {first} to {last} UTC ({why}): choose --from and --to, "
                f"or take candles there with --gaps {CANDLES}."
            )


def open_ticks(root: Path, symbols: Iterable[str]) -> RecordedTicks:
    """Reads the ticks of these symbols from the folder of the tick recorder. Misconfigured in a sentence."""
    folder = TickFolder(root)
    try:
        if not folder.symbols(TRADES):
            raise Misconfigured(f"--ticks {root} holds no recorded trades: give the folder of the tick recorder.")
        return RecordedTicks({symbol: _read(folder, symbol) for symbol in symbols})
    except TickFault as fault:
        raise Misconfigured(str(fault)) from None


def _read(folder: TickFolder, symbol: str) -> SymbolTicks:
    pl = polars()
    frames = []
    for kind in (TRADES, QUOTES):
        paths = [path for files in folder.hours(kind, symbol).values() for path in files]
        if not paths:
            continue
        frame = folder.read(kind, paths)
        columns = ("price",) if kind == TRADES else _PRICES
        floats = [pl.col(name).cast(pl.Float64) for name in columns]
        frames.append(
            frame.select(pl.col("ts").dt.epoch("ms"), pl.lit(kind == QUOTES).alias("quote"), "ordinal", *floats)
        )
    if not frames or "price" not in frames[0].columns or not frames[0].height:
        raise Misconfigured(f"{folder.root} has no trades of {symbol}: leave the symbol out with --symbols.")
    merged = pl.concat(frames, how="diagonal").sort("ts", "quote", "ordinal")
    absent = [pl.lit(None, pl.Float64).alias(name) for name in _PRICES if name not in merged.columns]
    merged = merged.with_columns(absent)
    time_ms, quote = merged["ts"].to_numpy(), merged["quote"].to_numpy()
    rows = np.arange(len(time_ms), dtype=np.int64)
    missing: list[tuple[int, int, str]] = [
        (-_ENDLESS_MS, int(time_ms[0]) // _MINUTE_MS * _MINUTE_MS, "before the first")
    ]
    missing += [
        (gap.from_ms, _ENDLESS_MS if gap.until_ms is None else gap.until_ms, gap.reason) for gap in folder.gaps(symbol)
    ]
    missing.append((int(time_ms[-1]) // _MINUTE_MS * _MINUTE_MS + _MINUTE_MS, _ENDLESS_MS, "after the last"))
    return SymbolTicks(
        time_ms=time_ms,
        quote=quote,
        price=merged["price"].to_numpy(),
        quotes=merged.select(_PRICES).to_numpy(),
        trade=np.maximum.accumulate(np.where(quote, -1, rows)),
        best=np.maximum.accumulate(np.where(quote, rows, -1)),
        missing=tuple(missing),
    )


class TickVenue(RestingVenue):
    """The account on recorded ticks. `best` has the quote in force of each symbol, where there is one."""

    best: dict[str, Quote]

    def begin(self) -> "TickVenue":
        """With no order in the book and no quote."""
        super().begin()
        self.best = {}
        return self

    def slipped(self, symbol: str, price: Decimal, *, buy: bool, qty: Decimal = ZERO) -> Decimal:
        """What a taker of `qty` pays or gets: the best price, for what exceeds its size one tick worse, as an average.

        The last price stands for a side that was empty.
        """
        quote = self.best.get(symbol)
        if quote is None:
            return super().slipped(symbol, price, buy=buy)
        shown, there = (quote.ask, quote.ask_size) if buy else (quote.bid, quote.bid_size)
        if math.isnan(shown):
            return super().slipped(symbol, price, buy=buy)
        best, size = super().slipped(symbol, to_decimal(shown), buy=buy), to_decimal(there)
        if qty <= size:
            return best
        tick = self._instruments[symbol].tick_size
        further = best + tick if buy else best - tick
        return (best * size + further * (qty - size)) / qty

    def traded(self, symbol: str, price: float, time_ms: int) -> None:
        """A recorded trade: what waits for its price fires, wherever the last one was."""
        self.last[symbol] = price
        target = to_decimal(price)
        if symbol in self.holdings and self.equity() <= self._maintenance():
            self._bust(time_ms)
        for up in (False, True):
            while self._fire_next(symbol, target, up, True, time_ms):
                pass
        held = self.holdings.get(symbol)
        if held is not None:
            held.follow(target)

    def quoted(self, symbol: str, quote: Quote, time_ms: int) -> None:
        """A recorded quote: resting limit orders that it reaches fill at their own price."""
        self.best[symbol] = quote
        waiting = [one for one in self.waiting.get(symbol, ()) if not one.order.trigger]
        if not waiting:
            return
        buys = [one for one in waiting if one.order.side == Direction.LONG.value and float(one.price) >= quote.ask]
        sells = [one for one in waiting if one.order.side != Direction.LONG.value and float(one.price) <= quote.bid]
        buys.sort(key=lambda one: (-one.price, one.serial))
        sells.sort(key=lambda one: (one.price, one.serial))
        for one in (*buys, *sells):
            if one in self.waiting.get(symbol, ()):
                self._fire(one, time_ms)


def described(root: Path, ticks: RecordedTicks, bars_by_candle: int) -> str:
    """Where fills come from, in a sentence."""
    said = f"recorded trades and quotes of {root.name}, {len(ticks.by_symbol)} symbols"
    return f"{said}; {bars_by_candle} bars with gaps by their candles" if bars_by_candle else said
