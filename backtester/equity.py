"""The account's value at every bar's close, from the wallet's changes and the spans of its positions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from alpha.indicators import Floats
from alpha.strategy.bars import Bars, BoolArray
from backtester.candles import first_ms


class Span(NamedTuple):
    """A position from bar `entered` of the grid until it left within bar `left`; size with sign, entry price."""

    symbol: str
    entered: int
    left: int
    signed_size: float
    entry_price: float


@dataclass(frozen=True, slots=True)
class Equity:
    """Marks positions at closes. Bars are counted on the grid that starts at `grid_ms`; `first` to `end` were tested."""

    bars: Mapping[str, Bars]
    grid_ms: int
    first: int
    end: int

    def at_closes(self, cash: float, wallets: Iterable[tuple[int, float]], spans: Iterable[Span]) -> Floats:
        """Equity in USDT at the close of each tested bar. `wallets` are balances from the bar on in which they changed."""
        steps = list(wallets)
        starts = np.array([number - self.first for number, _ in steps], dtype=np.int64)
        lengths = np.diff(np.concatenate(([0], starts, [self.end - self.first])))
        equity = np.repeat(np.array([cash, *(wallet for _, wallet in steps)]), lengths)
        for span in spans:
            self._mark(equity, span)
        return equity

    def exposed(self, spans: Iterable[Span]) -> BoolArray:
        """In which of the tested bars anything was held."""
        held = np.zeros(self.end - self.first, dtype=np.bool_)
        for span in spans:
            held[span.entered - self.first : max(span.left, span.entered + 1) - self.first] = True
        return held

    def _mark(self, equity: Floats, span: Span) -> None:
        """Add the unrealised profit of one position; a symbol whose bars have ended keeps its last close."""
        bars = self.bars[span.symbol]
        offset = (first_ms(bars) - self.grid_ms) // bars.interval_ms
        known = min(span.left, offset + len(bars))
        closes = bars.close[span.entered - offset : known - offset]
        equity[span.entered - self.first : known - self.first] += span.signed_size * (closes - span.entry_price)
        if span.left > known:
            last = float(bars.close[-1])
            equity[known - self.first : span.left - self.first] += span.signed_size * (last - span.entry_price)
