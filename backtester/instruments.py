"""The exchange's filters for each symbol of a back-test.

From `instruments-info.json` beside the candles (rows as Bybit sends them; `alpha data download` writes it); where there
is none, from the candles themselves: the tick is the smallest power of ten that every price fits, the quantity step the
smallest that every volume fits, the least order one step and 5 USDT.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from alpha.bybit.decode import parse_instrument
from alpha.bybit.errors import UnreadableRow
from alpha.errors import AlphaError, Misconfigured
from alpha.indicators import Floats
from alpha.model.instrument import Instrument
from alpha.strategy.bars import Bars
from backtester.candles import first_ms

FILE = "instruments-info.json"
_MOST_PLACES = 12


def read_instruments(folder: Path, candles: Mapping[str, Bars]) -> dict[str, Instrument]:
    """The instrument of every symbol: the recorded one where the folder knows it, else one that fits the candles."""
    recorded = recorded_instruments(folder)
    return {
        symbol: recorded[symbol] if symbol in recorded else fitting_instrument(series)
        for symbol, series in candles.items()
    }


def recorded_instruments(folder: Path) -> dict[str, Instrument]:
    """The instruments written down in the folder, by symbol; none when it has no such file."""
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        rows = json.loads(path.read_text())
        if not isinstance(rows, list):
            raise TypeError("it is not a list of instruments")
        found = [_instrument(row, number) for number, row in enumerate(rows, start=1)]
    except (OSError, ValueError, TypeError, AlphaError) as fault:
        raise Misconfigured(
            f"{path} cannot be read: {str(fault).rstrip('.')}. Mend or remove it, or download the data again."
        ) from None
    return {instrument.symbol: instrument for instrument in found}


def _instrument(row: Any, number: int) -> Instrument:
    try:
        return parse_instrument(row)
    except UnreadableRow as fault:
        raise ValueError(f"{fault.field} of instrument {number} {fault.what}") from None


def fitting_instrument(candles: Bars) -> Instrument:
    """An instrument whose tick and step fit all prices and volumes of these candles."""
    tick = min(_step(column) for column in (candles.open, candles.high, candles.low, candles.close))
    step = _step(candles.volume)
    most = Decimal(10) ** 12
    return Instrument(
        category="linear",
        symbol=candles.symbol,
        base_coin=candles.symbol.removesuffix("USDT"),
        quote_coin="USDT",
        settle_coin="USDT",
        contract_type="LinearPerpetual",
        symbol_type="",
        status="Trading",
        launch_ms=first_ms(candles),
        delivery_ms=None,
        tick_size=tick,
        min_price=tick,
        max_price=tick * 10**12,
        qty_step=step,
        min_order_qty=step,
        max_order_qty=most,
        max_market_qty=most,
        min_notional=Decimal(5),
        min_leverage=Decimal(1),
        max_leverage=Decimal(25),
        leverage_step=Decimal("0.01"),
        funding_interval_min=480,
    )


def _step(values: Floats) -> Decimal:
    """The smallest power of ten, 1 at most, that all values are multiples of, as far as their digits can tell."""
    for places in range(_MOST_PLACES):
        scaled = values * 10.0**places
        if (np.abs(scaled - np.rint(scaled)) <= np.maximum(np.abs(scaled) * 4e-16, 1e-9)).all():
            return Decimal(1).scaleb(-places)
    return Decimal(1).scaleb(-_MOST_PLACES)
