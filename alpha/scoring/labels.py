"""What a trade would have earned: the label of a bar.

A trade decided at a bar's close is entered at the next bar's open. `horizon` leaves at the open `bars` later; `barrier`
leaves at the first of a target, a stop (both fractions of the entry price; the adverse one first inside one bar), or that
time. Net of the taker's fee on both sides and of slippage. Lopez de Prado, Advances in Financial Machine Learning (2018),
chapter 3, describes the triple barrier.
"""

from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from alpha.timeframes import Columns

Floats = NDArray[np.float64]


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a label is made. `fee` and `slippage` are fractions of the value, for one side."""

    kind: Literal["sign", "size", "barrier"]
    direction: Literal["long", "short"]
    bars: int
    fee: float
    slippage: float
    target: float = 0.0
    stop: float = 0.0

    @property
    def cost(self) -> float:
        """Cost of a round trip, as a fraction of the value."""
        return 2.0 * (self.fee + self.slippage)

    @property
    def ripe_after(self) -> int:
        """Bars after the decision bar that must have closed before its label is known to every kind."""
        return self.bars + 1


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Per bar: net return of the trade (NaN where the data end first), and the bar in which it ended (-1 there)."""

    net: Floats
    exit_index: NDArray[np.int64]


def outcomes(candles: Columns, label: Label) -> Outcomes:
    """What a trade decided at each of these consecutive bars would have earned, as a fraction of its value."""
    count = len(candles.close)
    net = np.full(count, np.nan)
    ends = np.full(count, -1, dtype=np.int64)
    usable = count - label.bars - 1
    if usable <= 0:
        return Outcomes(net, ends)
    sign = 1.0 if label.direction == "long" else -1.0
    entry = candles.open[1 : usable + 1]
    exit_price = candles.open[label.bars + 1 :].copy()
    exit_at = np.arange(usable, dtype=np.int64) + label.bars + 1
    if label.kind == "barrier":
        target, stop = entry * (1.0 + sign * label.target), entry * (1.0 - sign * label.stop)
        waiting = np.ones(usable, dtype=np.bool_)
        for bar in range(1, label.bars + 1):
            part = slice(bar, usable + bar)
            high, low, opened = candles.high[part], candles.low[part], candles.open[part]
            stopped = waiting & ((low <= stop) if sign > 0 else (high >= stop))
            hit = waiting & ~stopped & ((high >= target) if sign > 0 else (low <= target))
            # A bar that opens beyond a level fills there, not at the level.
            worse = np.minimum(opened, stop) if sign > 0 else np.maximum(opened, stop)
            better = np.maximum(opened, target) if sign > 0 else np.minimum(opened, target)
            exit_price = np.where(stopped, worse, np.where(hit, better, exit_price))
            exit_at = np.where(stopped | hit, np.arange(usable) + bar, exit_at)
            waiting &= ~(stopped | hit)
    net[:usable] = sign * (exit_price / entry - 1.0) - label.cost
    ends[:usable] = exit_at
    return Outcomes(net, ends)
