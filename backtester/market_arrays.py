"""A market as flat arrays for the compiled walk: prices in whole units, all symbols one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from alpha.indicators import Floats
from backtester.candles import first_ms
from backtester.market import MarketData

Ints = NDArray[np.int64]
_MOST_UNITS = 10**10  # prices in units stay far below what 64 bits hold after a multiplication by `SCALE`
SCALE = 10**8  # fractions (of a stop, of slippage) are whole multiples of one part in this many
_EXACT = 4e-16


@dataclass(frozen=True, slots=True)
class MarketArrays:
    """Bars of `symbols`: those of symbol s are `base[s]` to `base[s] + count[s]`, the first is bar `offset[s]` of the grid.

    `open`, `high`, `low`, `close` are in `unit[s]` USDT; `tick[s]` is the tick in such units. `funding` is the rate charged at
    the bar's open, 0 for none. A bar of a hole has prices of 0. `step`, `least`, `most` are quantities in base coin, `value` the least order in USDT;
    `maintenance` is the share of a value below which the account is in danger.
    """

    symbols: tuple[str, ...]
    base: Ints
    count: Ints
    offset: Ints
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    funding: Floats
    unit: Floats
    tick: Ints
    step: Floats
    least: Floats
    most: Floats
    value: Floats
    steps: tuple[Decimal, ...]
    units: tuple[Decimal, ...]
    max_leverage: Floats


def market_arrays(data: MarketData, symbols: Sequence[str]) -> MarketArrays | None:
    """The arrays of these symbols, made once for a market; None where a price does not fit whole units."""
    key = ("arrays", tuple(symbols))
    if key not in data.cache:
        data.cache[key] = _make(data, tuple(symbols))
    found = data.cache[key]
    return found if isinstance(found, MarketArrays) else None


def whole(value: Decimal | Fraction) -> int | None:
    """A fraction in parts of `SCALE`; None when it is no whole number of them."""
    scaled = Fraction(value) * SCALE
    return int(scaled) if scaled.denominator == 1 else None


def _make(data: MarketData, symbols: tuple[str, ...]) -> MarketArrays | None:
    grid_ms, interval_ms = data.first_ms, data.interval_ms
    count = np.array([len(data.bars[symbol]) for symbol in symbols], dtype=np.int64)
    base = np.concatenate(([0], np.cumsum(count)[:-1])).astype(np.int64)
    offset = np.array([(first_ms(data.bars[symbol]) - grid_ms) // interval_ms for symbol in symbols], dtype=np.int64)
    columns: dict[str, Ints] = {
        name: np.empty(int(count.sum()), dtype=np.int64) for name in ("open", "high", "low", "close")
    }
    funding = np.zeros(int(count.sum()))
    units: list[Decimal] = []
    for place, symbol in enumerate(symbols):
        bars, tick = data.bars[symbol], data.instruments[symbol].tick_size
        part = slice(int(base[place]), int(base[place] + count[place]))
        unit = _unit(tick, [np.nan_to_num(getattr(bars, name)) for name in columns])
        if unit is None:
            return None
        units.append(unit)
        scale = float(1 / unit)
        for name, column in columns.items():
            column[part] = np.nan_to_num(np.rint(getattr(bars, name) * scale))
        charged = data.funding[symbol]
        places = (charged.time_ms - grid_ms) // interval_ms - offset[place]
        inside = (places >= 0) & (places < count[place])
        rates = np.array([float(rate) for rate in charged.rate])
        np.add.at(funding, places[inside] + base[place], rates[inside])
    of = [data.instruments[symbol] for symbol in symbols]
    return MarketArrays(
        symbols=symbols,
        base=base,
        count=count,
        offset=offset,
        funding=funding,
        unit=np.array([float(unit) for unit in units]),
        tick=np.array([int(one.tick_size / unit) for one, unit in zip(of, units, strict=True)], dtype=np.int64),
        step=np.array([float(one.qty_step) for one in of]),
        least=np.array([float(one.min_order_qty) for one in of]),
        most=np.array([float(one.max_market_qty // one.qty_step * one.qty_step) for one in of]),
        value=np.array([float(one.min_notional) for one in of]),
        steps=tuple(one.qty_step for one in of),
        units=tuple(units),
        max_leverage=np.array([float(one.max_leverage) for one in of]),
        **columns,
    )


def _unit(tick: Decimal, prices: list[Floats]) -> Decimal | None:
    """The largest power of ten, 1 at most, of which the tick and every price are whole multiples; None when there is none."""
    exponent = tick.normalize().as_tuple().exponent
    places = max(0, -exponent) if isinstance(exponent, int) else 0
    for more in range(places, 13):
        scale = 10.0**more
        most = max(float(column.max()) for column in prices) * scale
        if most > _MOST_UNITS:
            return None
        if all(
            (np.abs(scaled - np.rint(scaled)) <= np.maximum(np.abs(scaled) * _EXACT, 1e-9)).all()
            for scaled in (column * scale for column in prices)
        ):
            return Decimal(1).scaleb(-more)
    return None
