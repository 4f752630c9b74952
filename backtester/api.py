"""A back-test as a function: a strategy, candles and typed settings in, a typed result out."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from alpha.errors import Misconfigured
from alpha.model.assumed_slippage import ASSUMED_SLIPPAGE_BPS
from alpha.model.instrument import Instrument
from alpha.model.interval import INTERVAL_MS
from alpha.strategy.bars import Bars
from alpha.strategy.base import Strategy
from backtester import engine
from backtester.candle_files import read_folder
from backtester.candles import COLUMNS, check, end_ms, first_ms, gaps
from backtester.columns import read_columns
from backtester.funding import USUAL_RATE, Funding, constant_funding, read_funding
from backtester.instruments import fitting_instrument, read_instruments
from backtester.market import MarketData
from backtester.minutes import read_minutes
from backtester.parts import on_grid
from backtester.prepared import BacktestConfig
from backtester.result import Result
from backtester.venue import Costs

CASH = Decimal(10_000)
COSTS = Costs(slippage_bps=ASSUMED_SLIPPAGE_BPS)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a back-test is run with; every field has the default of `alpha backtest`.

    `from_ms` and `to_ms` are UTC milliseconds (None: all there is), `cash` is in USDT, `funding` the rate per eight hours
    where the data record none (None: only recorded rates will do), `resume_after_ms` when an operator lifts a halt
    (None: never). With `parts` candles with holes are traded part by part, as with `--holes parts`; else a hole is refused.
    """

    from_ms: int | None = None
    to_ms: int | None = None
    cash: Decimal = CASH
    costs: Costs = COSTS
    funding: Decimal | None = USUAL_RATE
    resume_after_ms: int | None = None
    parts: bool = False


def run(
    strategy: Strategy[Any, Any], candles: MarketData | Mapping[str, Any] | Path | str, config: Settings | None = None
) -> Result:
    """The back-test of `strategy` over `candles`.

    `candles` is a folder (as `alpha backtest --data`), a mapping from symbol to `Bars` or to a polars frame with the columns
    `start_ms,open,high,low,close,volume`, or a `MarketData` of your own. Misconfigured says in a sentence what does not fit.
    """
    settings = Settings() if config is None else config
    data = market_of(strategy, candles, settings)
    config_of_run = BacktestConfig(
        data.first_ms if settings.from_ms is None else settings.from_ms,
        data.end_ms if settings.to_ms is None else settings.to_ms,
        settings.cash,
        settings.costs,
        settings.resume_after_ms,
    )
    return engine.run(strategy, data, config_of_run)


def market_of(
    strategy: Strategy[Any, Any], candles: MarketData | Mapping[str, Any] | Path | str, settings: Settings
) -> MarketData:
    """Candles, funding and instruments together, from whatever form they are given in."""
    if isinstance(candles, MarketData):
        return candles
    if isinstance(candles, str | Path):
        folder = Path(candles)
        wanted = strategy.universe.symbols and tuple(dict.fromkeys((*strategy.universe.symbols, *strategy.references)))
        left_out: list[str] | None = [] if settings.parts else None
        known = read_folder(
            folder, wanted, from_ms=settings.from_ms, to_ms=settings.to_ms, left_out=left_out, parts=settings.parts
        )
        if not known:
            raise Misconfigured(f"{folder} has no candles of the range.")
        spans = {symbol: (first_ms(bars), end_ms(bars)) for symbol, bars in known.items()}
        return MarketData(
            {symbol: on_grid(bars) for symbol, bars in known.items()},
            read_funding(folder, spans, settings.funding),
            read_instruments(folder, known),
            read_columns(strategy, folder, known, settings.funding),
            read_minutes(folder, known),
        )
    bars = {symbol: bars_of(symbol, table, INTERVAL_MS[strategy.interval]) for symbol, table in candles.items()}
    if not settings.parts and (holed := next((symbol for symbol, one in bars.items() if gaps(one)), None)):
        raise Misconfigured(f"The candles of {holed} have a gap: give the part without it, or set parts=True.")
    if not bars:
        raise Misconfigured("No candles were given: give at least one symbol.")
    if settings.funding is None:
        raise Misconfigured("Candles in memory bring no recorded funding: give a rate, or a folder.")
    funding: dict[str, Funding] = {
        symbol: constant_funding(settings.funding, first_ms(one), end_ms(one)) for symbol, one in bars.items()
    }
    instruments: dict[str, Instrument] = {symbol: fitting_instrument(one) for symbol, one in bars.items()}
    return MarketData({symbol: on_grid(one) for symbol, one in bars.items()}, funding, instruments)


def bars_of(symbol: str, table: Any, interval_ms: int) -> Bars:
    """`Bars` of a symbol from `Bars` or from a frame (anything whose columns can be had by name). Checked; gaps are left."""
    if isinstance(table, Bars):
        bars = table
    else:
        try:
            columns = [np.asarray(table[name], dtype=np.float64) for name in COLUMNS]
            times = np.asarray(table["start_ms"], dtype=np.int64)
        except (KeyError, TypeError, ValueError) as fault:
            raise Misconfigured(f"The candles of {symbol} need start_ms, {', '.join(COLUMNS)}: {fault}.") from None
        except Exception as fault:  # noqa: BLE001 - polars has its own class for a missing column
            raise Misconfigured(f"The candles of {symbol} cannot be read: {fault}.") from None
        bars = Bars(symbol, interval_ms, times, *columns)
    check(bars, f"The candles of {symbol}")
    return bars
