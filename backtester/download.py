"""Fetches public candles and funding rates into a folder, and goes on where it stopped.

What a file holds already is not fetched again: only what lies before its first and after its last candle. Candles are
written every few pages, so that an interrupted download loses little. A candle that the exchange does not have is a sentence
at the end; what is sound on both sides of it is kept, and nothing is filled in.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from alpha.bybit.client import Gateway
from alpha.bybit.models import Kline
from alpha.bybit.rate_limiter import Priority
from alpha.errors import Misconfigured
from alpha.model.instrument import Instrument
from alpha.model.interval import INTERVAL_MS
from alpha.model.money import plain
from alpha.strategy.auxiliary import open_interest_step
from alpha.strategy.bars import Bars
from alpha.strategy.column_files import read_rows as read_column_file
from backtester.candle_files import FUNDING_SUFFIX, read_file, write_file
from backtester.candles import COLUMNS, check, column, end_ms, first_ms, moment
from backtester.csv_format import write_parquet
from backtester.funding import read_rows, write_funding
from backtester.instruments import FILE, recorded_instruments

#: Intervals that divide a day, as Bybit writes them, in milliseconds.
INTERVALS = {name: length for name, length in INTERVAL_MS.items() if name != "W"}
PAGE = 1000
FUNDING_PAGE = 200
_SAVE_EVERY = 20  # pages
_TOGETHER = 4  # symbols

#: Told after each page: the symbol, what was fetched of it, out of how much (milliseconds of history).
Progress = Callable[[str, int, int], None]


async def download(
    gateway: Gateway,
    folder: Path,
    symbols: Sequence[str],
    interval: str,
    from_ms: int,
    to_ms: int,
    progress: Progress,
    *,
    open_interest: bool = False,
) -> dict[str, Bars]:
    """Bring `folder` up to date for `symbols`: candles of `interval`, funding, instruments. Returns the candles.

    Only closed candles with `from_ms <= start < to_ms`; a symbol that is younger begins with its first candle. Raises
    Misconfigured for an unknown symbol, for a folder with candles of another length and for a gap.
    """
    length = INTERVALS.get(interval)
    if length is None:
        raise Misconfigured(f"--interval {interval} is not known; choose from {', '.join(INTERVALS)}.")
    instruments = await _instruments(gateway, symbols)
    _write_instruments(folder, instruments)
    now_ms = await gateway.server_time_ms()
    to_ms = min(to_ms, now_ms) // length * length
    from_ms = -(-from_ms // length) * length
    if from_ms >= to_ms:
        raise Misconfigured(f"There is no closed candle between {moment(from_ms)} and {moment(to_ms)}.")
    gate = asyncio.Semaphore(_TOGETHER)

    async def one(symbol: str) -> Bars:
        async with gate:
            launch_ms = instruments[symbol].launch_ms or 0
            first = max(from_ms, -(-launch_ms // length) * length)
            path = folder / f"{symbol}.parquet"
            bars = await _Fetch(gateway, path, symbol, interval, length, first, to_ms, progress).candles()
            await _funding(gateway, folder, symbol, first_ms(bars), end_ms(bars))
            if open_interest:
                await _open_interest(gateway, folder, symbol, length, first_ms(bars), end_ms(bars))
            return bars

    done = await asyncio.gather(*(one(symbol) for symbol in symbols), return_exceptions=True)
    for outcome in done:
        if isinstance(outcome, BaseException):
            raise outcome
    return {bars.symbol: bars for bars in done if isinstance(bars, Bars)}


async def _instruments(gateway: Gateway, symbols: Sequence[str]) -> dict[str, Instrument]:
    known = await gateway.instruments(rank=Priority.BACKFILL)
    if missing := [symbol for symbol in symbols if symbol not in known]:
        raise Misconfigured(f"The exchange has no USDT perpetual {', '.join(missing)}: check the spelling.")
    return {symbol: known[symbol] for symbol in symbols}


@dataclass(slots=True)
class _Fetch:
    """The candles of one symbol on their way to its file."""

    gateway: Gateway
    path: Path
    symbol: str
    interval: str
    length: int
    from_ms: int
    to_ms: int
    progress: Progress
    have: Bars | None = None

    async def candles(self) -> Bars:
        """Fetch what the file lacks; returns all of it."""
        if self.path.exists():
            self.have = read_file(self.path, self.symbol, gaps=True)
            if self.have.interval_ms != self.length:
                raise Misconfigured(
                    f"{self.path} holds candles of {self.have.interval_ms // 60_000} minutes: "
                    f"use another folder for interval {self.interval}."
                )
            await self._range(self.from_ms, first_ms(self.have), save_early=False)
            await self._range(end_ms(self.have), self.to_ms, save_early=True)
        else:
            await self._range(self.from_ms, self.to_ms, save_early=True)
        if self.have is None:
            raise Misconfigured(
                f"The exchange has no candles of {self.symbol} between {moment(self.from_ms)} and {moment(self.to_ms)}."
            )
        self.progress(self.symbol, 1, 1)
        return self.have

    async def _range(self, first: int, last: int, *, save_early: bool) -> None:
        """Fetch `first <= start < last`, oldest first. What lies before the file can only be saved as a whole."""
        rows: list[Kline] = []
        try:
            for number, cursor in enumerate(range(first, last, PAGE * self.length), start=1):
                end = min(cursor + PAGE * self.length, last)
                page = await self.gateway.kline(
                    self.symbol, self.interval, start_ms=cursor, end_ms=end - 1, limit=PAGE, rank=Priority.BACKFILL
                )
                rows += [row for row in page if row.closed and cursor <= row.start_ms < end]
                self.progress(self.symbol, end - self.from_ms, self.to_ms - self.from_ms)
                if save_early and number % _SAVE_EVERY == 0:
                    self._save(rows)
                    rows = []
        finally:
            if save_early:
                self._save(rows)
        if not save_early:
            self._save(rows)

    def _save(self, rows: list[Kline]) -> None:
        """Write the file anew with these candles in it; a single candle alone is too little to know its length."""
        if not rows or (self.have is None and len(rows) == 1):
            return
        joined = _joined(self.have, self.symbol, self.length, rows, self.path)
        write_file(self.path, joined)
        self.have = joined


def _joined(have: Bars | None, symbol: str, length: int, rows: list[Kline], path: Path) -> Bars:
    """The candles of the file and the new ones, in order, checked."""
    times = np.array([row.start_ms for row in rows], dtype=np.int64)
    columns = {name: np.array([float(getattr(row, name)) for row in rows]) for name in COLUMNS}
    if have is not None:
        new = ~np.isin(times, have.start_ms)
        times = np.concatenate((have.start_ms, times[new]))
        columns = {name: np.concatenate((column(have, name), values[new])) for name, values in columns.items()}
    order = np.argsort(times, kind="stable")
    bars = Bars(symbol, length, times[order], *(columns[name][order] for name in COLUMNS))
    check(bars, str(path))
    return bars


async def _funding(gateway: Gateway, folder: Path, symbol: str, from_ms: int, to_ms: int) -> None:
    """All funding rates of `from_ms <= time < to_ms`; those on disk are kept, the rest is read newest first."""
    path = folder / f"{symbol}{FUNDING_SUFFIX}"
    known: dict[int, Decimal] = {}
    if path.exists():
        times, rates = read_rows(path)
        known = dict(zip(times.tolist(), rates, strict=True))
    missing = [(from_ms, to_ms)]
    if known:
        missing = [(from_ms, min(known)), (max(known) + 1, to_ms)]
    for first, last in missing:
        end = last - 1
        while end >= first:
            rows = await gateway.funding_history(symbol, end_ms=end)
            known.update({row.time_ms: row.rate for row in rows if first <= row.time_ms < last})
            if len(rows) < FUNDING_PAGE or rows[0].time_ms <= first:
                break
            end = rows[0].time_ms - 1
    if known:
        write_funding(path, known)


async def _open_interest(
    gateway: Gateway, folder: Path, symbol: str, interval_ms: int, from_ms: int, to_ms: int
) -> None:
    """Open interest of `from_ms <= time < to_ms` in the step that fits the candles, after what is on disk already."""
    path = folder / f"{symbol}.open_interest.parquet"
    step, step_ms = open_interest_step(interval_ms)
    known: dict[int, float] = {}
    if path.exists():
        have = read_column_file(path)
        known = dict(zip(have.time_ms.tolist(), have.values.tolist(), strict=True))
    since = max(known, default=from_ms - step_ms) + step_ms
    for first in range(since, to_ms, 200 * step_ms):
        last = min(to_ms, first + 200 * step_ms) - 1
        rows = await gateway.open_interest(symbol, step, start_ms=first, end_ms=last)
        known.update({row.time_ms: float(row.amount) for row in rows})
    if known:
        times = sorted(known)
        write_parquet(path, {"time_ms": np.array(times, dtype=np.int64), "value": [known[time] for time in times]})


def _write_instruments(folder: Path, instruments: dict[str, Instrument]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    known = {**recorded_instruments(folder), **instruments}
    rows = [instrument_row(known[symbol]) for symbol in sorted(known)]
    partial = folder / f"{FILE}.part"
    partial.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    partial.replace(folder / FILE)


def instrument_row(instrument: Instrument) -> dict[str, object]:
    """An instrument in the form of a row of `market/instruments-info`."""
    return {
        "symbol": instrument.symbol,
        "contractType": instrument.contract_type,
        "status": instrument.status,
        "baseCoin": instrument.base_coin,
        "quoteCoin": instrument.quote_coin,
        "settleCoin": instrument.settle_coin,
        "launchTime": str(instrument.launch_ms or 0),
        "deliveryTime": str(instrument.delivery_ms or 0),
        "fundingInterval": instrument.funding_interval_min,
        "priceFilter": {
            "tickSize": plain(instrument.tick_size),
            "minPrice": plain(instrument.min_price),
            "maxPrice": plain(instrument.max_price),
        },
        "lotSizeFilter": {
            "qtyStep": plain(instrument.qty_step),
            "minOrderQty": plain(instrument.min_order_qty),
            "maxOrderQty": plain(instrument.max_order_qty),
            "maxMktOrderQty": plain(instrument.max_market_qty),
            "minNotionalValue": plain(instrument.min_notional),
        },
        "leverageFilter": {
            "minLeverage": plain(instrument.min_leverage),
            "maxLeverage": plain(instrument.max_leverage),
            "leverageStep": plain(instrument.leverage_step),
        },
    }
