"""What a sweep found, judged out of sample.

In each fold the trial with the best objective in the training window is taken, and traded in the test window from a flat
account; these test windows, joined, are what somebody would have had who tuned the rule in this way. Nothing of a test
window takes part in a choice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from alpha.indicators import Floats
from backtester.confidence import block_places
from research.evaluate import Evaluator, SweepTerms, Trial, daily, objective, window
from research.folds import DAY_MS, Fold
from research.overfitting import (
    Overfitting,
    deflated_sharpe,
    independent_trials,
    moments,
    overfitting,
    sharpe,
)

SIGNIFICANT = 0.95
_DRAWS = 2_000


@dataclass(frozen=True, slots=True)
class FoldResult:
    """The choice of one fold: trial, its objective in training and test, trades and return (fraction) in the test window."""

    fold: Fold
    number: int
    parameters: Mapping[str, str]
    train_value: float
    test_value: float
    trades: int
    test_return: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """All of it. Ratios are annualised unless the name says daily; `joined` are the daily returns out of sample."""

    trials: int
    failed: int
    best: Trial
    folds: tuple[FoldResult, ...]
    joined: Floats
    joined_days: NDArray[np.int64]
    out_of_sample_return: float
    out_of_sample_sharpe: float
    interval: tuple[float, float]
    in_sample_sharpe: float
    deflated: float
    independent: float
    overfit: Overfitting | None
    stability: Mapping[str, float]

    @property
    def significant(self) -> bool:
        """True when the best trial is more than luck at 95 % and is the better half's out of sample more often than not."""
        return self.deflated >= SIGNIFICANT and (self.overfit is None or self.overfit.probability < 0.5)

    @property
    def words(self) -> str:
        """The verdict in a sentence."""
        pbo = "unknown" if self.overfit is None else f"{self.overfit.probability:.2f}"
        figures = f"deflated Sharpe ratio {self.deflated:.2f}, probability of overfitting {pbo}"
        if self.significant:
            return f"More than luck, as far as these data tell: {figures}."
        return f"This cannot be told from noise: {figures} (0.95 and above, and below 0.50, would be needed)."


def judge(trials: list[Trial], evaluator: Evaluator, first_ms: int) -> Verdict:
    """The verdict on finished trials; `first_ms` is the start of the first bar of the range."""
    good = [trial for trial in trials if not trial.why and len(trial.returns)]
    if not good:
        from alpha.errors import Misconfigured

        raise Misconfigured("No trial has a result yet: wait for the first ones, or look at their reasons with status.")
    length = min(len(trial.returns) for trial in good)
    table = np.stack([trial.returns[:length] for trial in good], axis=1).astype(np.float64)
    name = evaluator.terms.objective
    folds: list[FoldResult] = []
    joined: list[Floats] = []
    days: list[NDArray[np.int64]] = []
    for fold in evaluator.folds:
        values = [
            objective(name, window(table[:, n], first_ms, fold.train_from_ms, fold.train_to_ms))
            for n in range(len(good))
        ]
        chosen = int(np.argmax(values))
        returns, trades = tested(evaluator, good[chosen], fold)
        joined.append(returns)
        days.append(fold.test_from_ms // DAY_MS + np.arange(len(returns), dtype=np.int64))
        folds.append(
            FoldResult(
                fold, good[chosen].number, good[chosen].parameters, values[chosen], objective(name, returns), trades,
                float(np.prod(1 + returns)) - 1,
            )
        )  # fmt: skip
    out = np.concatenate(joined)
    best = max(good, key=lambda trial: trial.value)
    picked = table[:, good.index(best)]
    skew, kurtosis = moments(picked)
    ratios = np.array([sharpe(table[:, n]) for n in range(len(good))])
    independent = independent_trials(table)
    return Verdict(
        trials=len(trials),
        failed=len(trials) - len(good),
        best=best,
        folds=tuple(folds),
        joined=out,
        joined_days=np.concatenate(days),
        out_of_sample_return=float(np.prod(1 + out)) - 1,
        out_of_sample_sharpe=objective("sharpe", out),
        interval=_interval(out),
        in_sample_sharpe=objective("sharpe", picked),
        deflated=deflated_sharpe(
            sharpe(picked),
            variance=float(ratios.var(ddof=1)) if len(ratios) > 1 else 0.0,
            trials=independent,
            count=len(picked),
            skew=skew,
            kurtosis=kurtosis,
        ),
        independent=independent,
        overfit=overfitting(table),
        stability=stability([result.parameters for result in folds]),
    )


def tested(evaluator: Evaluator, trial: Trial, fold: Fold) -> tuple[Floats, int]:
    """Daily returns and trades of a trial's parameters in a test window, from a flat account with the usual warm-up."""
    terms = evaluator.terms
    alone = SweepTerms(
        fold.test_from_ms, fold.test_to_ms, terms.cash, terms.costs, terms.resume_after_ms, terms.objective, terms.fixed
    )
    once = Evaluator(evaluator.kind, evaluator.data, alone, [fold])
    trades, equity, first_ms = once.equity(once.strategy(trial.parameters))
    return daily(equity, float(Decimal(terms.cash)), first_ms, evaluator.data.interval_ms), trades


def stability(chosen: list[Mapping[str, str]]) -> dict[str, float]:
    """For each parameter the share of folds that chose its most frequent value: 1 is the same in all."""
    found = {}
    for name in chosen[0] if chosen else ():
        values = [parameters[name] for parameters in chosen]
        found[name] = max(values.count(value) for value in values) / len(values)
    return found


def _interval(returns: Floats) -> tuple[float, float]:
    """90 % block-bootstrap interval of the annualised Sharpe ratio."""
    if len(returns) < 20:
        return float("nan"), float("nan")
    places = block_places(len(returns), _DRAWS, 1)
    drawn = returns[places]
    spread = drawn.std(axis=1, ddof=1)
    ratios = np.where(spread > 0, drawn.mean(axis=1) / np.where(spread > 0, spread, 1.0), 0.0) * 365.25**0.5
    low, high = np.quantile(ratios, (0.05, 0.95))
    return float(low), float(high)
