"""Order flow per bar, from recorded ticks: what some features of a model are computed from. No bot has it live."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alpha import indicators as ta

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Flow:
    """One entry per bar, NaN where the bar was not recorded whole.

    `bought` and `sold` are the takers' volumes in the base coin, `trades` their number, `spread` the mean of the quotes' spreads
    in basis points of the middle.
    """

    bought: Floats
    sold: Floats
    trades: Floats
    spread: Floats

    def span(self, start: int, stop: int) -> "Flow":
        """The bars number `start` to `stop`, exclusive."""
        span = slice(start, stop)
        return Flow(self.bought[span], self.sold[span], self.trades[span], self.spread[span])


def imbalance(flow: Flow, n: int) -> Floats:
    """Bought less sold over both, of n bars: -1 to 1. NaN without a trade."""
    bought, sold = ta.rolling_sum(flow.bought, n), ta.rolling_sum(flow.sold, n)
    return ta.ratio(bought - sold, bought + sold)


def trades(flow: Flow, n: int) -> Floats:
    """Trades per bar, the mean of n bars."""
    return ta.sma(flow.trades, n)


def spread(flow: Flow, n: int) -> Floats:
    """The spread in basis points, the mean of n bars."""
    return ta.sma(flow.spread, n)
