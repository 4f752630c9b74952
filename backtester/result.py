"""What a back-test hands back: every trade, the money at every bar, and what the rules held back."""

from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from alpha.indicators import Floats
from alpha.model.reason import Reason
from alpha.model.side import Direction
from backtester.venue import Fill


@dataclass(frozen=True, slots=True)
class Trade:
    """One position from its first entry to its last exit. Amounts in USDT: net = gross - fees + funding.

    Where there were several entries or exits, `size` is all that was entered, the prices are averages, and `reason` is
    that of the last exit.
    """

    symbol: str
    direction: Direction
    size: Decimal
    entry_ms: int
    entry_price: Decimal
    exit_ms: int
    exit_price: Decimal
    reason: Reason
    gross: Decimal
    fees: Decimal
    funding: Decimal
    entry_why: str
    exit_why: str

    @property
    def net(self) -> Decimal:
        """Profit after fees and funding."""
        return self.gross - self.fees + self.funding

    @property
    def return_pct(self) -> float:
        """Net profit in percent of what the position cost."""
        return float(self.net / (self.entry_price * self.size)) * 100.0


@dataclass(frozen=True, slots=True)
class OpenAtEnd:
    """A position that the data end in, at the last price. It is in the equity and not among the trades."""

    symbol: str
    direction: Direction
    size: Decimal
    entry_ms: int
    entry_price: Decimal
    mark_price: Decimal
    unrealised: Decimal


@dataclass(frozen=True, slots=True)
class LimitHit:
    """An account limit that was met."""

    time_ms: int
    text: str


@dataclass(slots=True)
class Result:
    """The outcome of one back-test.

    `close_ms` are the closes of all bars tested and `equity` the account's value in USDT at each (positions at the
    bar's close), both of the same length.
    """

    interval_ms: int
    from_ms: int
    to_ms: int
    cash: Decimal
    end_equity: Decimal
    trades: list[Trade]
    open_at_end: list[OpenAtEnd]
    close_ms: NDArray[np.int64]
    equity: Floats
    exposed: NDArray[np.bool_]
    limit_hits: list[LimitHit] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
