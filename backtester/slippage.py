"""Slippage by symbol: measured, or by a model of volatility and turnover, instead of one constant for all.

`slippage.csv` has the columns `symbol,bps`, written by `alpha data slippage` from what a bot's orders really cost. The model is
the square-root law of market impact (Almgren, Thum, Hauptmann and Li 2005; Toth and others 2011): half a spread of one basis
point, and the daily volatility times the root of the order's share of the daily turnover.
"""

import csv
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np

from alpha.errors import Misconfigured
from alpha.model.money import is_usual
from alpha.strategy.bars import Bars

MODEL = "model"
HALF_SPREAD_BPS = 1.0
_DAY_MS = 86_400_000
_MOST = Decimal(500)
_PLACES = Decimal("0.01")


def read_slippage(path: Path) -> dict[str, Decimal]:
    """Basis points by symbol of a file. Misconfigured names the line."""
    found: dict[str, Decimal] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames is None or not {"symbol", "bps"} <= set(reader.fieldnames):
                raise Misconfigured(f"{path} needs the columns symbol and bps, found {reader.fieldnames}.")
            for number, row in enumerate(reader, start=2):
                try:
                    value = Decimal(str(row["bps"]).strip())
                except InvalidOperation:
                    raise Misconfigured(f"{path} line {number}: bps must be a number, found {row['bps']!r}.") from None
                if not is_usual(value) or abs(value) > _MOST:
                    raise Misconfigured(
                        f"{path} line {number}: bps must be at most {_MOST}, found {row['bps'][:60]!r}."
                    )
                # Orders that were filled better than decided are luck, not a rule.
                found[str(row["symbol"]).strip().upper()] = max(value, Decimal(0)).quantize(_PLACES)
    except (OSError, UnicodeDecodeError) as fault:
        raise Misconfigured(f"{path} cannot be read: {fault}.") from None
    if not found:
        raise Misconfigured(f"{path} names no symbol.")
    return found


def modelled(candles: Mapping[str, Bars], order_usdt: Decimal) -> dict[str, Decimal]:
    """Basis points by symbol for market orders of this value in USDT, from the medians over the days of the candles."""
    return {symbol: _impact(bars, float(order_usdt)) for symbol, bars in candles.items()}


def _impact(bars: Bars, order: float) -> Decimal:
    days = bars.start_ms // _DAY_MS
    first = np.flatnonzero(np.diff(np.concatenate(([days[0] - 1], days))))
    turnover = np.add.reduceat(bars.volume * bars.close, first)
    returns = np.diff(np.log(bars.close), prepend=np.log(bars.open[0]))
    volatility = np.sqrt(np.add.reduceat(returns**2, first))
    middle = float(np.median(turnover))
    if middle <= 0:
        return _MOST
    bps = HALF_SPREAD_BPS + float(np.median(volatility)) * 10_000 * float(np.sqrt(order / middle))
    return min(Decimal(repr(bps)), _MOST).quantize(_PLACES)
