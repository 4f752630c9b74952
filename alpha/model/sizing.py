"""Fits quantities and prices to the exchange's filters, never rounding in the wrong direction."""

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from enum import Enum

from alpha.errors import Rejected
from alpha.model.instrument import Instrument
from alpha.model.money import plain
from alpha.model.side import BUY, SELL


class Rounding(Enum):
    """The direction in which a price is rounded to a tick."""

    DOWN = ROUND_FLOOR
    UP = ROUND_CEILING
    NEAREST = ROUND_HALF_EVEN


def round_to(value: Decimal, step: Decimal, rounding: Rounding) -> Decimal:
    """`value` rounded to a multiple of `step`. Raises ValueError unless `step` is positive."""
    if step <= 0:
        raise ValueError(f"a step must be above zero, not {step}")
    return (value / step).to_integral_value(rounding.value) * step


def round_qty(qty: Decimal, instrument: Instrument) -> Decimal:
    """`qty` rounded down to the symbol's quantity step."""
    return round_to(qty, instrument.qty_step, Rounding.DOWN)


def round_price(price: Decimal, side: str, instrument: Instrument) -> Decimal:
    """A limit price rounded to the passive side: down for a buy, up for a sell."""
    return round_to(price, instrument.tick_size, Rounding.DOWN if _is(side, BUY) else Rounding.UP)


def round_stop(price: Decimal, position_side: str, instrument: Instrument) -> Decimal:
    """A stop loss rounded away from the market: down for a long, up for a short."""
    return round_to(price, instrument.tick_size, Rounding.DOWN if _is(position_side, BUY) else Rounding.UP)


def round_target(price: Decimal, position_side: str, instrument: Instrument) -> Decimal:
    """A take profit rounded away from the market: up for a long, down for a short."""
    return round_to(price, instrument.tick_size, Rounding.UP if _is(position_side, BUY) else Rounding.DOWN)


def round_distance(distance: Decimal, instrument: Instrument) -> Decimal:
    """A trailing distance rounded up to the tick, at least one tick."""
    return max(instrument.tick_size, round_to(distance, instrument.tick_size, Rounding.UP))


def largest_qty(instrument: Instrument, *, market: bool) -> Decimal:
    """The maximum quantity of one order."""
    return instrument.max_market_qty if market else instrument.max_order_qty


def fit_qty(
    qty: Decimal, price: Decimal, instrument: Instrument, *, market: bool = True, reduce_only: bool = False
) -> Decimal:
    """The quantity to send for a desired `qty` at about `price`: rounded down to the step, capped at the maximum.

    Raises TooSmall, naming the filter, when the exchange would not accept the result. A reduce-only order is not
    checked against the minimum notional: a remainder must always be closable.
    """
    if qty <= 0 or price <= 0:
        raise Rejected(f"{instrument.symbol}: a quantity of {qty} at a price of {price} is not an order quantity.")
    fitted = min(round_qty(qty, instrument), round_qty(largest_qty(instrument, market=market), instrument))
    if fitted < instrument.min_order_qty or fitted == 0:
        raise TooSmall(
            f"{instrument.symbol}: {plain(qty)} is below the least order of {plain(instrument.min_order_qty)} "
            f"(step {plain(instrument.qty_step)})."
        )
    if not reduce_only and fitted * price < instrument.min_notional:
        raise TooSmall(
            f"{instrument.symbol}: {plain(fitted)} at {plain(price)} is worth {plain(fitted * price)}, below the "
            f"least order value of {plain(instrument.min_notional)}."
        )
    return fitted


def closing_slice(size: Decimal, most: Decimal, instrument: Instrument | None) -> Decimal:
    """How much of a position of `size` one order closes: at most `most` and the symbol's largest market order, base coin.

    The remainder is never below the smallest order, which nothing could close: 1.005 with a smallest order of 0.010 and a
    largest of 1.000 is closed by 0.995 and 0.010. Where no order fits these limits, or the instrument is not known, the
    whole is sent: closing comes before a cap.
    """
    if instrument is None:
        return size
    piece = round_qty(min(instrument.max_market_qty, most), instrument)
    if piece <= 0 or piece >= size:
        return size
    if size - piece < instrument.min_order_qty:
        piece = round_qty(size - instrument.min_order_qty, instrument)
    return piece if piece > 0 else size


def _is(side: str, wanted: str) -> bool:
    if side not in {BUY, SELL}:
        raise ValueError(f"a side is Buy or Sell, not {side!r}")
    return side == wanted


class TooSmall(Rejected):
    """After rounding, an order is below the exchange's minimum for this symbol."""
