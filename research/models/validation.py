"""Purged walk-forward: every fold trains on the past alone, and its hyper-parameters are chosen inside that past.

Between the last row that trains and the first that is tested lie the horizon and the longest window of any feature: no label
reaches into the test and no window of a tested row reaches back into a label that trained. There is no other validation
here, and none can be chosen: shuffled folds call a random walk predictable.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alpha.errors import Misconfigured
from research.models.booster import fit, predict
from research.models.config import TrainConfig
from research.models.dataset import Panel
from research.models.significance import log_loss_rows
from research.models.simulate import best_threshold

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
INNER_SHARE = 0.25
_LEAST_ROWS = 200


@dataclass(frozen=True, slots=True)
class Choice:
    """What the inner validation chose: hyper-parameters, and the score from which a trade is made."""

    parameters: dict[str, float]
    threshold: float


@dataclass(frozen=True, slots=True)
class FoldScores:
    """One fold: rows of the panel that were tested, their scores, the last bar that trained, and what was chosen."""

    rows: Ints
    score: Floats
    train_to: int
    choice: Choice


class WalkForward:
    """The walk-forward of one training."""

    def __init__(self, panel: Panel, config: TrainConfig, longest_window: int, seed: int) -> None:
        self._panel = panel
        self._config = config
        self._regression = config.label.kind == "size"
        self._seed = seed
        #: Bars between the last row that trains and the first that is tested.
        self.embargo = config.label.bars + 1 + longest_window

    def run(self) -> list[FoldScores]:
        """All folds in order. Misconfigured when the data are too short for them."""
        first, end = int(self._panel.bar[0]), int(self._panel.bar[-1]) + 1
        begin = first + int((end - first) * self._config.validation.first_train)
        cuts = np.linspace(begin, end, self._config.validation.folds + 1).astype(np.int64).tolist()
        return [self._fold(start, stop) for start, stop in itertools.pairwise(cuts)]

    def _fold(self, start: int, stop: int) -> FoldScores:
        tested = self._between(start, stop)
        train_to = start - self.embargo
        trained = self._between(0, train_to)
        if len(trained) < _LEAST_ROWS or not len(tested):
            raise Misconfigured(
                f"A fold has {len(trained)} rows to train on and {len(tested)} to test, after an embargo of {self.embargo} "
                "bars. Give a longer history, fewer folds, a larger validation.first_train or shorter windows."
            )
        choice = self.choose(trained)
        model = self.fit(trained, choice.parameters)
        return FoldScores(tested, predict(model, self._panel.rows[tested]), train_to, choice)

    def choose(self, rows: Ints) -> Choice:
        """Hyper-parameters and threshold from the last quarter of these rows, with the same embargo before it."""
        panel = self._panel
        first, end = int(panel.bar[rows[0]]), int(panel.bar[rows[-1]]) + 1
        start = end - int((end - first) * INNER_SHARE)
        inside, tested = rows[panel.bar[rows] < start - self.embargo], rows[panel.bar[rows] >= start]
        grid = self._config.search.grid()
        if len(inside) < _LEAST_ROWS:
            raise Misconfigured(
                f"Only {len(inside)} rows are left to choose hyper-parameters with. Give a longer history, or a larger "
                "validation.first_train."
            )
        best: tuple[float, dict[str, float], Floats] | None = None
        for parameters in grid:
            score = predict(self.fit(inside, parameters), panel.rows[tested])
            loss = self.loss(score, panel.net[tested])
            if best is None or loss < best[0]:
                best = (loss, parameters, score)
        assert best is not None
        return Choice(best[1], best_threshold(panel, tested, best[2]))

    def fit(self, rows: Ints, parameters: dict[str, float]) -> Any:
        """A model of these rows of the panel."""
        net = self._panel.net[rows]
        target = net if self._regression else (net > 0).astype(np.float64)
        return fit(self._panel.rows[rows], target, parameters, regression=self._regression, seed=self._seed)

    def losses(self, score: Floats, net: Floats) -> Floats:
        """The loss of each row: log-loss; for `size` the squared error over the variance of the label."""
        if self._regression:
            return (score - net) ** 2 / max(float(net.var()), 1e-18)
        return log_loss_rows(score, net > 0)

    def loss(self, score: Floats, net: Floats) -> float:
        """The mean loss."""
        return float(self.losses(score, net).mean())

    def _between(self, start: int, stop: int) -> Ints:
        return np.flatnonzero((self._panel.bar >= start) & (self._panel.bar < stop))
