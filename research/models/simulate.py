"""What would have been traded on scores: entries at a threshold, one trade per symbol at a time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from research.models.dataset import Panel

Floats = NDArray[np.float64]
QUANTILES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)


@dataclass(frozen=True, slots=True)
class Traded:
    """The rows at which a trade began, and its net return as a fraction of the whole capital, shared evenly by the symbols."""

    rows: NDArray[np.int64]
    net: Floats

    @property
    def total(self) -> float:
        """Sum of the net returns."""
        return float(self.net.sum())


def trade(panel: Panel, chosen: NDArray[np.int64], score: Floats, threshold: float) -> Traded:
    """Trades of the rows `chosen` of the panel (ascending) whose `score` reaches the threshold, none while one is open."""
    taken: list[int] = []
    busy_until = np.full(len(panel.symbols), -1, dtype=np.int64)
    for place in np.flatnonzero(score >= threshold).tolist():
        row = int(chosen[place])
        symbol = int(panel.symbol[row])
        if panel.bar[row] < busy_until[symbol]:
            continue
        busy_until[symbol] = panel.ends[row]
        taken.append(row)
    rows = np.asarray(taken, dtype=np.int64)
    return Traded(rows, panel.net[rows] / len(panel.symbols))


def best_threshold(panel: Panel, chosen: NDArray[np.int64], score: Floats) -> float:
    """The quantile of these scores whose trades earned most; the strictest when none earned anything."""
    found = [float(np.quantile(score, q)) for q in QUANTILES]
    earned = [trade(panel, chosen, score, threshold).total for threshold in found]
    best = int(np.argmax(earned))
    return found[best] if earned[best] > 0 else found[-1]


def buy_and_hold(panel: Panel, from_bar: int, to_bar: int) -> float:
    """The mean return of holding every symbol over these bars."""
    part = panel.closes[from_bar : to_bar + 1]
    returns = []
    for symbol in range(part.shape[1]):
        known = part[~np.isnan(part[:, symbol]), symbol]
        if len(known) > 1:
            returns.append(known[-1] / known[0] - 1.0)
    return float(np.mean(returns)) if returns else 0.0
