"""A strategy's rules as arrays: for strategies whose entries and exits can be told from the bars alone.

A strategy that gives them is walked in compiled code, with the same trades as its `evaluate`, bar by bar. What the arrays
say must be what `evaluate` does; the back-tester's tests compare both to the last bit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.bars import BarView, BoolArray, FloatArray
from alpha.strategy.intents import Enter, Exit, Size, Trailing


@dataclass(frozen=True, slots=True)
class Levels:
    """Stop, take profit and trailing stop of an entry, fractions of the average entry price."""

    stop: Decimal
    take_profit: Decimal | None = None
    trailing: Trailing | None = None


@dataclass(frozen=True, slots=True)
class Raise:
    """A stop that follows the best price since the entry: `fraction` away from the highest high (a short: the lowest low)."""

    fraction: Decimal
    meaning: Reason
    why: str


@dataclass(frozen=True, slots=True)
class ArrayRules:
    """All of one direction, by symbol; arrays are of the length of the symbol's bars.

    A bar enters where `enters` holds, every indicator has a value and the symbol is flat; best `score` first (None: in the
    order of the universe). A position leaves by `time_limit_ms`, or where `leaves` holds once it was held for
    `leaves_after_ms`; times are from the start of its entry bar to the close of the bar looked at. `enter` and `leave` make
    the intents, with their words. `held_order`: exits are given in the order of the positions instead of the universe's.
    """

    direction: Direction
    size: Size
    enters: Mapping[str, BoolArray]
    leaves: Mapping[str, BoolArray]
    levels: Mapping[str, Levels]
    enter: Callable[[BarView], Enter]
    leave: Callable[[int, BarView], Exit]
    score: Mapping[str, FloatArray] = field(default_factory=dict)
    leaves_after_ms: int = 0
    time_limit_ms: int | None = None
    raises: Raise | None = None
    held_order: bool = False
