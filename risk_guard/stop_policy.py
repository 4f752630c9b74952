"""Decides what one position needs: nothing, a stop, or to be closed. Pure: rows in, a decision out."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from alpha.model.instrument import Instrument
from alpha.model.money import plain
from alpha.model.order import Order
from alpha.model.position import Position
from alpha.model.side import Direction
from alpha.model.sizing import round_stop
from alpha.strategy.positions import OwnPosition, stop_passed

#: How far inside the liquidation price a stop is moved, as a share of the way to the market.
_INSIDE = Decimal("0.2")


class Need(StrEnum):
    """What a position needs."""

    NOTHING = "nothing"
    STOP = "stop"
    CLOSE = "close"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class StopDecision:
    """`price` is the stop to set; `why` is one sentence for the alert."""

    need: Need
    why: str = ""
    price: Decimal | None = None


FINE = StopDecision(Need.NOTHING)


def judge(
    position: Position,
    orders: Sequence[Order],
    own: OwnPosition | None,
    instrument: Instrument | None,
    last: Decimal,
    emergency_pct: Decimal,
    *,
    protect_manual: bool,
) -> StopDecision:
    """What `position` needs at the last price `last`.

    `orders` are the open orders of its symbol, `own` is the strategy's state of it (None: not opened by it).
    A position is protected when a stop loss of mode Full lies on its losing side, before the liquidation price, for
    the whole size, and the market has not passed it. Levels are in USDT.
    """
    direction = Direction(position.side)
    name = f"{position.symbol}: the {'long' if direction is Direction.LONG else 'short'} of {plain(position.size)}"
    stop = position.stop_loss
    if own is None and not protect_manual:
        if stop is None:
            return StopDecision(Need.REPORT, f"{name} was opened by hand and has no stop; it is not touched.")
        return FINE
    if stop is not None and stop_passed(direction, stop, last):
        return StopDecision(
            Need.CLOSE, f"{name} is beyond its stop at {plain(stop)} (last {plain(last)}) and still open."
        )
    fault = _fault(position, orders, direction)
    if fault is None:
        return FINE
    wanted = _wanted(position, own, direction, emergency_pct)
    wanted = _inside(wanted, position, direction, last)
    if instrument is not None:
        wanted = round_stop(wanted, position.side, instrument)
    if wanted <= 0 or stop_passed(direction, wanted, last):
        return StopDecision(Need.CLOSE, f"{name} {fault}, and the market at {plain(last)} has passed where it belongs.")
    return StopDecision(Need.STOP, f"{name} {fault}; it belongs at {plain(wanted)}.", wanted)


def _fault(position: Position, orders: Sequence[Order], direction: Direction) -> str | None:
    """What is wrong with the stop, or None."""
    stop = position.stop_loss
    if stop is None:
        partial = sum(
            (order.qty for order in orders if order.stop_order_type in {"StopLoss", "PartialStopLoss"}), Decimal(0)
        )
        if partial:
            return f"has stops for {plain(partial)} only"
        if position.trailing_stop is not None:
            return "has a trailing stop but no plain one"
        return "has no stop"
    if position.tpsl_mode == "Partial":
        return "has a stop that is not for the whole position"
    short = [
        order for order in orders if order.stop_order_type == "StopLoss" and Decimal(0) < order.qty < position.size
    ]
    if short:
        return f"has a stop for {plain(short[0].qty)} only"
    if position.liq_price and (position.liq_price - stop) * direction.sign >= 0:
        return f"would be liquidated at {plain(position.liq_price)} before its stop at {plain(stop)}"
    return None


def _wanted(position: Position, own: OwnPosition | None, direction: Direction, emergency_pct: Decimal) -> Decimal:
    if own is not None and own.direction is direction:
        return own.stop_loss
    return position.entry_price * (1 - direction.sign * emergency_pct / 100)


def _inside(stop: Decimal, position: Position, direction: Direction, last: Decimal) -> Decimal:
    """`stop`, moved towards the market if it lies beyond the liquidation price."""
    liquidation = position.liq_price
    if not liquidation or (liquidation - stop) * direction.sign < 0:
        return stop
    return liquidation + (last - liquidation) * _INSIDE
