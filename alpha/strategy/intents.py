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
class Limit:
    """Rest in the book at `price` (USDT), rounded to the passive side of the tick.

    A post-only order that would take is cancelled instead. In the back-test and in the simulator's step clock it is
    filled, at its price and the maker's fee, when the price trades through it by a tick; a touch is not a fill.
    """

    price: Decimal
    post_only: bool = True


@dataclass(frozen=True, slots=True)
class Trigger:
    """Become a market order once the last price reaches `price` (USDT), from whichever side it is on at the decision."""

    price: Decimal


@dataclass(frozen=True, slots=True)
class Target:
    """A resting reduce-only limit order that an entry brings with it.

    It closes `share` (above 0, at most 1) of what that entry fills, at `distance` (a fraction) beyond the average entry
    price. `tag` names it for `MoveTarget`.
    """

    distance: Decimal
    share: Decimal
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Enter:
    """Open a position, or add to one of the same direction. Levels are fractions of the average entry price, above zero.

    `stop` is required: no position without a plain stop loss. `at` None is a market order; a resting one is valid for
    `valid_bars` bars. An addition never loosens the stop that is in force. `tag` and `why` are recorded.
    """

    symbol: str
    direction: Direction
    size: Size
    stop: Decimal
    take_profit: Decimal | None = None
    trailing: Trailing | None = None
    why: str = ""
    at: Limit | Trigger | None = None
    valid_bars: int = 1
    targets: tuple[Target, ...] = ()
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Exit:
    """Close the position, or `fraction` of it, by a market order or by a resting reduce-only limit order.

    An exit of the whole at market also cancels the symbol's resting entries, and lets an entry in the opposite
    direction through in the same bar.
    """

    symbol: str
    reason: Reason
    why: str = ""
    fraction: Decimal = Decimal(1)
    at: Limit | None = None
    tag: str = ""


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
    tag: str = ""


@dataclass(frozen=True, slots=True)
class MoveTarget:
    """Move the position's take profit (`tag` ""), or its resting targets of that tag, to `price`."""

    symbol: str
    price: Decimal
    tag: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class CancelEntry:
    """Cancel the symbol's resting entries, all of them or those of a tag."""

    symbol: str
    tag: str = ""
    why: str = ""


Intent: TypeAlias = Enter | Exit | MoveStop | MoveTarget | CancelEntry
