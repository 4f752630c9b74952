"""Recorded ticks as a market: trades and best bid and offer as they were, in the files of the tick recorder.

Minutes are made from the trades; a minute without any is flat at the price before. Units, funding, index price and open
interest are as in `exchange_simulator.market.replay`. Ticks are read hour by hour while they are replayed. Before the first
tick there may be candles of `history`, a folder as for that market: what bots need before they trade.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from exchange_simulator.candle_files import CandleFault, CandleFile, candle_files, read_candles
from exchange_simulator.market import catalogue
from exchange_simulator.market.intervals import Rows
from exchange_simulator.market.model import HOUR_MS, MINUTE_MS, Instrument, MarketError
from exchange_simulator.market.replay import ReplayMarket
from exchange_simulator.tick_files import QUOTES, TRADES, TickFault, TickFolder, polars

_EXACT = 2**53
_DECIMALS = 12


class Print(NamedTuple):
    """A recorded trade. Price in ticks, quantity in steps."""

    symbol: str
    time_ms: int
    price: int
    qty: int
    side: Literal["Buy", "Sell"]  # the taker's
    trade_id: str


class Shown(NamedTuple):
    """A recorded best bid and offer, in ticks and steps; None for an empty side."""

    symbol: str
    time_ms: int
    bid: int | None
    bid_size: int | None
    ask: int | None
    ask_size: int | None


@dataclass(frozen=True, slots=True)
class Scale:
    """Turns stored decimals into whole units: value x 10^places x times // into."""

    places: int
    times: int
    into: int

    def units(self, column: Any) -> Any:
        """The polars expression of a column in whole units."""
        pl = polars()
        whole = (column.cast(pl.Float64) * 10**self.places).round().cast(pl.Int64)
        return whole * self.times // self.into


class TickMarket(ReplayMarket):
    """A `Market` of recorded ticks."""

    def __init__(
        self,
        folder: TickFolder,
        rows: Mapping[str, Rows],
        instruments: Mapping[str, Instrument],
        funding_rate: Decimal,
        scales: Mapping[str, tuple[Scale, Scale]],
    ) -> None:
        super().__init__(rows, instruments, funding_rate)
        self._folder = folder
        self._scales = dict(scales)  # of prices and of quantities
        self._hours = {
            (kind, symbol): folder.hours(kind, symbol) for kind in (TRADES, QUOTES) for symbol in self._scales
        }
        #: When the first trade or quote comes; what lies before is history.
        self.ticks_from_ms = min(hour for hours in self._hours.values() for hour in hours)
        self.quoted = frozenset(symbol for symbol in self._scales if self._hours[QUOTES, symbol])

    def events(self, from_ms: int) -> Iterator[Print | Shown]:
        """Trades and quotes from `from_ms` on, in the order of time; of one millisecond, trades before quotes."""
        pl = polars()
        hours = {hour for files in self._hours.values() for hour in files if hour + HOUR_MS > from_ms}
        for hour in sorted(hours):
            frames = [
                frame.with_columns(kind=pl.lit(kind == QUOTES), symbol=pl.lit(symbol))
                for kind, symbol in self._hours
                if (frame := self._hour(kind, symbol, hour)) is not None
            ]
            if not frames:
                continue
            merged = pl.concat(frames, how="diagonal").filter(pl.col("ts") >= from_ms)
            names = ("ts", "kind", "symbol", "price", "qty", "side", "id", "bid", "bid_size", "ask", "ask_size")
            missing = [pl.lit(None).alias(name) for name in names if name not in merged.columns]
            ordered = merged.with_columns(missing).sort("ts", "kind", "symbol", "ordinal").select(names)
            for ts, quote, symbol, price, qty, side, trade_id, *best in ordered.iter_rows():
                if quote:
                    yield Shown(symbol, ts, *best)
                else:
                    yield Print(symbol, ts, price, qty, side, trade_id)

    def quote_before(self, symbol: str, time_ms: int) -> Shown | None:
        """The newest quote before `time_ms`, as far back as the hour before; None when there is none."""
        for hour in (time_ms // HOUR_MS * HOUR_MS, time_ms // HOUR_MS * HOUR_MS - HOUR_MS):
            frame = self._hour(QUOTES, symbol, hour)
            if frame is not None:
                frame = frame.filter(polars().col("ts") < time_ms)
                if frame.height:
                    return _shown(symbol, frame.sort("ts", "ordinal").row(-1, named=True))
        return None

    def gaps(self) -> Mapping[str, int]:
        """How many gaps in its trades or quotes each symbol has, where any."""
        counted = {symbol: len(self._folder.gaps(symbol)) for symbol in self._scales}
        return {symbol: count for symbol, count in counted.items() if count}

    def first_quote(self, symbol: str) -> Shown | None:
        """The oldest quote; None without any."""
        for hour in self._hours[QUOTES, symbol]:
            frame = self._hour(QUOTES, symbol, hour)
            if frame is not None and frame.height:
                return _shown(symbol, frame.sort("ts", "ordinal").row(0, named=True))
        return None

    def trades_before(self, symbol: str, time_ms: int, limit: int) -> list[Print]:
        """The newest trades before `time_ms`, newest first, as far back as the hour before."""
        found: list[Print] = []
        for hour in (time_ms // HOUR_MS * HOUR_MS, time_ms // HOUR_MS * HOUR_MS - HOUR_MS):
            frame = self._hour(TRADES, symbol, hour)
            if frame is not None:
                rows = frame.filter(polars().col("ts") < time_ms).sort("ts", "ordinal").tail(limit)
                columns = rows.select("ts", "price", "qty", "side", "id").rows()
                found += [Print(symbol, *row) for row in reversed(columns)]
        return found[:limit]

    def _hour(self, kind: str, symbol: str, hour: int) -> Any:
        """The rows of an hour in whole units, `ts` in milliseconds; None when there are none."""
        paths = self._hours[kind, symbol].get(hour)
        if not paths:
            return None
        pl, (price, qty) = polars(), self._scales[symbol]
        frame = self._folder.read(kind, paths)
        columns = [pl.col("ts").dt.epoch("ms"), pl.col("ordinal")]
        if kind == TRADES:
            units = [price.units(pl.col("price")), qty.units(pl.col("size")).alias("qty")]
            return frame.select(*columns, *units, "side", "id")
        prices = [price.units(pl.col(f"{side}_price")).alias(side) for side in ("bid", "ask")]
        return frame.select(*columns, *prices, *(qty.units(pl.col(f"{side}_size")) for side in ("bid", "ask")))


def _shown(symbol: str, row: Mapping[str, Any]) -> Shown:
    return Shown(symbol, row["ts"], row["bid"], row["bid_size"], row["ask"], row["ask_size"])


def is_ticks(folder: Path) -> bool:
    """Whether a folder holds recorded ticks."""
    return bool(TickFolder(folder).symbols(TRADES))


def open_ticks(
    root: Path,
    *,
    symbols: tuple[str, ...] = (),
    funding_rate: Decimal = Decimal("0.0001"),
    history: Path | None = None,
) -> TickMarket:
    """Opens a folder of recorded ticks, or only `symbols` of it, after the candles of `history`. Raises `MarketError` naming
    folder or file.
    """
    try:
        return _open_folder(root, symbols, funding_rate, {} if history is None else candle_files(history))
    except (TickFault, CandleFault) as fault:
        raise MarketError(str(fault)) from None


def _open_folder(
    root: Path, symbols: tuple[str, ...], funding_rate: Decimal, history: Mapping[str, Path]
) -> TickMarket:
    if not root.is_dir():
        raise MarketError(f"{root} is not a folder: give the folder of the tick recorder (TICKS_DIR).")
    folder = TickFolder(root)
    stored = folder.symbols(TRADES)
    if not stored:
        raise MarketError(f"{root} holds no recorded trades: it needs trades/symbol=.../date=.../*.parquet.")
    if missing := sorted(set(symbols) - set(stored)):
        raise MarketError(f"{root} has no trades of {', '.join(missing)}: it has {', '.join(stored)}.")
    made = {symbol: _open(folder, symbol, history.get(symbol)) for symbol in symbols or stored}
    end = max(int(minutes[-1, 0]) for _, minutes, _ in made.values()) + MINUTE_MS
    return TickMarket(
        folder,
        {symbol: _whole(minutes, end) for symbol, (_, minutes, _) in made.items()},
        {symbol: instrument for symbol, (instrument, _, _) in made.items()},
        funding_rate,
        {symbol: scales for symbol, (_, _, scales) in made.items()},
    )


def _open(folder: TickFolder, symbol: str, history: Path | None) -> tuple[Instrument, Rows, tuple[Scale, Scale]]:
    """Instrument, minutes with trades and of the history before them, and scales of prices and quantities."""
    trades = [path for files in folder.hours(TRADES, symbol).values() for path in files]
    quotes = [path for files in folder.hours(QUOTES, symbol).values() for path in files]
    pl = polars()
    frame = folder.read(TRADES, trades)
    if not frame.height:
        raise MarketError(f"{trades[0].parent} has no trades of {symbol} in the book: leave the symbol out.")
    prices, sizes = [frame["price"]], [frame["size"]]
    if quotes:
        best = folder.read(QUOTES, quotes)
        prices += [best["bid_price"], best["ask_price"]]
        sizes += [best["bid_size"], best["ask_size"]]
    before = (
        None
        if history is None
        else read_candles(history, to_ms=frame["ts"].dt.epoch("ms").min() // MINUTE_MS * MINUTE_MS)
    )
    if before is not None:
        prices += [_decimals(before, name) for name in ("open", "high", "low", "close")]
    row = catalogue.TABLE.get(symbol)
    tick, price = _unit(symbol, row.tick if row else None, prices)
    step, qty = _unit(symbol, row.step if row else None, sizes)
    minutes = (
        frame.sort("ts", "ordinal")
        .select(
            ts=pl.col("ts").dt.epoch("ms") // MINUTE_MS * MINUTE_MS,
            price=price.units(pl.col("price")),
            qty=qty.units(pl.col("size")),
        )
        .group_by("ts", maintain_order=True)
        .agg(
            pl.col("price").first().alias("open"),
            pl.col("price").max().alias("high"),
            pl.col("price").min().alias("low"),
            pl.col("price").last().alias("close"),
            pl.col("qty").sum(),
        )
        .to_numpy()
        .astype(np.int64)
    )
    instrument = catalogue.instrument(
        symbol, price=int(np.median(minutes[:, 4])) * tick, launch_ms=int(minutes[0, 0]), tick=tick, step=step
    )
    if before is not None:
        minutes = np.concatenate((_minutes_of(before, int(minutes[0, 0]), price, step), minutes))
    return instrument, minutes, (price, qty)


def _decimals(candles: CandleFile, name: str) -> Any:
    pl = polars()
    return pl.Series(candles.texts(name), dtype=pl.String).str.strip_chars().cast(pl.Decimal(38, _DECIMALS))


def _minutes_of(candles: CandleFile, until_ms: int, price: Scale, step: Decimal) -> Rows:
    """Candles as minutes before `until_ms`: the first of each has all of it, and the others, made by `_whole`, are quiet."""
    pl, ends_ms = polars(), int(candles.start_ms[-1]) + candles.interval_ms
    if candles.interval_ms % MINUTE_MS or ends_ms + candles.interval_ms < until_ms:
        raise MarketError(
            f"{candles.path} ends {(until_ms - ends_ms) // MINUTE_MS} minutes before the ticks begin: as history, candles of "
            "whole minutes must reach the first tick."
        )
    frame = pl.DataFrame({name: _decimals(candles, name) for name in ("open", "high", "low", "close")})
    units = frame.select(price.units(pl.col(name)).alias(name) for name in frame.columns).to_numpy()
    volume = np.rint(candles.floats("volume") / float(step)).astype(np.int64)
    return np.column_stack((candles.start_ms, units.astype(np.int64), volume))[candles.start_ms < until_ms]


def _unit(symbol: str, usual: str | None, columns: list[Any]) -> tuple[Decimal, Scale]:
    """The usual unit if every value is a multiple of it, otherwise the largest power of ten that fits them all."""
    pl = polars()
    values = pl.concat([column.drop_nulls().unique().alias("value") for column in columns])
    text = values.cast(pl.Decimal(38, _DECIMALS)).cast(pl.String)
    digits = int(text.str.split(".").list.get(1).str.strip_chars_end("0").str.len_bytes().max() or 0)
    if float(values.cast(pl.Float64).max()) * 10**digits >= _EXACT:
        raise MarketError(f"The ticks of {symbol} have values with more digits than can be held exactly.")
    unit = Decimal(1).scaleb(-digits)
    if usual is not None:
        ratio = Decimal(usual) / unit
        whole: NDArray[np.int64] = (values.cast(pl.Float64) * 10**digits).round().cast(pl.Int64).to_numpy()
        if ratio < 1:
            return Decimal(usual), Scale(digits, int(1 / ratio), 1)
        if ratio == int(ratio) and not (whole % int(ratio)).any():
            return Decimal(usual), Scale(digits, 1, int(ratio))
    return unit, Scale(digits, 1, 1)


def _whole(minutes: Rows, end_ms: int) -> Rows:
    """Minutes without a hole up to `end_ms`, at least two: quiet ones are flat at the close before, without volume."""
    first = int(minutes[0, 0])
    count = max((end_ms - first) // MINUTE_MS, 2)
    place = (minutes[:, 0] - first) // MINUTE_MS
    newest = np.zeros(count, dtype=np.int64)
    newest[place] = np.arange(len(minutes))
    newest = np.maximum.accumulate(newest)
    found = minutes[newest].copy()
    quiet = np.ones(count, dtype=bool)
    quiet[place] = False
    found[quiet, 1:5] = found[quiet, 4:5]
    found[quiet, 5] = 0
    found[:, 0] = first + np.arange(count) * MINUTE_MS
    return found
