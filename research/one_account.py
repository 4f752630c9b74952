"""Several strategies on one account: one clock, one equity.

Each keeps its own positions, orders and rules; sizes and account limits look at the equity of all. Bars may differ in length: the
open of a bar, with its decisions, comes at its start, the rest of it at its end, and whoever decides in between sees the others at
the last price that they have met. Margin is looked at strategy by strategy; the same symbol held by two of them is two positions
here, and one on an exchange.
"""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alpha.errors import Misconfigured
from alpha.indicators import Floats
from alpha.model.money import ZERO
from alpha.strategy.base import Strategy
from backtester.engine import Run
from backtester.market import MarketData
from backtester.prepared import BacktestConfig
from backtester.result import Result


@dataclass(frozen=True, slots=True)
class Together:
    """`results` by name, each with what that strategy made; `equity` of the account at `close_ms` (UTC)."""

    results: Mapping[str, Result]
    close_ms: NDArray[np.int64]
    equity: Floats
    end_equity: Decimal


class _OnOneAccount(Run):
    """A run that knows the others. All begin with the whole cash, so that what each has made is its equity less that."""

    others: Sequence[Run] = ()

    def elsewhere(self) -> tuple[Decimal, Decimal]:
        """See `Run`."""
        made = sum((run.venue.equity() - run.terms.cash for run in self.others), ZERO)
        return made, sum((run.venue.open_profit() for run in self.others), ZERO)

    def phases(self) -> Iterator[int]:
        """Walk all bars; before each phase its time, in UTC milliseconds."""
        for number in range(self.first, self.end):
            start_ms = self.grid_ms + number * self.interval_ms
            yield start_ms
            wallet = self.venue.wallet
            prices, quiet = self._begin_bar(number)
            yield start_ms + self.interval_ms - 1
            self._end_bar(number, prices, quiet=quiet)
            if self.venue.wallet is not wallet:
                self.wallets.append((number, float(self.venue.wallet)))

    def summed(self) -> Result:
        """The result of this strategy alone."""
        return self._sum_up()


def together(parts: Mapping[str, tuple[Strategy[Any, Any], MarketData]], config: BacktestConfig) -> Together:
    """Back-test strategies on one account. Misconfigured where one and its data do not fit, or nothing is given."""
    if not parts:
        raise Misconfigured("Name at least one strategy.")
    runs = {name: _OnOneAccount(strategy, data, config) for name, (strategy, data) in parts.items()}
    for run in runs.values():
        run.others = [other for other in runs.values() if other is not run]
    waiting: list[tuple[int, int, Iterator[int]]] = []
    for place, run in enumerate(runs.values()):
        phases = run.phases()
        heapq.heappush(waiting, (next(phases), place, phases))
    while waiting:
        _, place, phases = heapq.heappop(waiting)
        following = next(phases, None)
        if following is not None:
            heapq.heappush(waiting, (following, place, phases))
    results = {name: run.summed() for name, run in runs.items()}
    closes = np.unique(np.concatenate([result.close_ms for result in results.values()]))
    equity = np.full(len(closes), float(config.cash))
    for result in results.values():
        places = np.searchsorted(result.close_ms, closes, side="right") - 1
        equity += np.where(places >= 0, result.equity[np.maximum(places, 0)] - float(config.cash), 0.0)
    end = config.cash + sum((result.end_equity - config.cash for result in results.values()), ZERO)
    return Together(results, closes, equity, end)
