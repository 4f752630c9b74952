"""What a strategy can want at a bar's close."""

from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from alpha.model.reason import Reason
from alpha.model.side import Direction


@dataclass(frozen=True, slots=True)
class OfEquity:
    """A notional of `fraction` x equity (leverage already in it: 0.7 is 7 % margin at leverage 10)."""

    fraction: Decimal


@dataclass(frozen=True, slots=True)
class Notional:
    """A fixed notional in USDT."""

    usdt: Decimal


Size: TypeAlias = OfEquity | Notional


@dataclass(frozen=True, slots=True)
class Trailing:
    """A trailing stop, both as fractions of the average entry price.

    `distance` is what the price may give back; it works only after a gain of `activation`.
    """

    distance: Decimal
    activation: Decimal


@dataclass(frozen=True, slots=True)
class Enter:
    """Open a position by a market order. Levels are fractions of the average entry price, above zero.

    `stop` is required: no position without a plain stop loss.
    """

    symbol: str
    direction: Direction
    size: Size
    stop: Decimal
    take_profit: Decimal | None = None
    trailing: Trailing | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Exit:
    """Close the whole position by a market order."""

    symbol: str
    reason: Reason
    why: str = ""


@dataclass(frozen=True, slots=True)
class MoveStop:
    """Move the plain stop loss to `price`. `meaning` is the exit reason of a fill there.

    The price is rounded to the tick away from the market. A move that would loosen the stop is ignored; one whose
    price the market has passed closes the position.
    """

    symbol: str
    price: Decimal
    meaning: Reason
    why: str = ""


Intent: TypeAlias = Enter | Exit | MoveStop
