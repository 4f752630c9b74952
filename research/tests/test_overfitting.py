"""The statistics of many trials against published examples and independent formulas."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from research.overfitting import (
    deflated_sharpe,
    expected_maximum,
    independent_trials,
    moments,
    overfitting,
    probabilistic_sharpe,
    sharpe,
)


@pytest.mark.parametrize(("trials", "said"), [(100, 0.9004), (46, 0.9505)])
def test_the_example_of_the_deflated_sharpe_ratio(trials: int, said: float) -> None:
    """Bailey and Lopez de Prado 2014, "A numerical example": SR 2.5 a year on 1,250 daily returns, variance 1/2 a year."""
    found = deflated_sharpe(
        2.5 / math.sqrt(250), variance=0.5 / 250, trials=trials, count=1250, skew=-3.0, kurtosis=10.0
    )
    assert found == pytest.approx(said, abs=2e-4)


def test_the_benchmark_of_that_example() -> None:
    assert expected_maximum(100, 0.5 / 250) == pytest.approx(0.1132, abs=1e-4)
    assert expected_maximum(1, 0.5 / 250) == 0.0


def test_the_expected_maximum_is_that_of_drawn_normals() -> None:
    drawn = np.random.default_rng(1).normal(0.0, 0.3, (20_000, 50)).max(axis=1)
    assert expected_maximum(50, 0.09) == pytest.approx(float(drawn.mean()), rel=0.02)


def test_the_probabilistic_ratio_of_normal_returns_is_about_the_t_test() -> None:
    returns = np.random.default_rng(2).normal(0.02, 1.0, 900)
    skew, kurtosis = moments(returns)
    assert (skew, kurtosis) == pytest.approx((stats.skew(returns), stats.kurtosis(returns, fisher=False)))
    one_sided = stats.ttest_1samp(returns, 0.0, alternative="greater").pvalue
    assert probabilistic_sharpe(sharpe(returns), 0.0, 900, skew, kurtosis) == pytest.approx(1 - one_sided, abs=5e-3)


def test_independent_trials_count_copies_once() -> None:
    draw = np.random.default_rng(3)
    apart = draw.normal(size=(2_000, 20))
    assert independent_trials(apart) == pytest.approx(20, abs=1.5)
    assert independent_trials(np.repeat(apart[:, :1], 20, axis=1)) == pytest.approx(1, abs=0.05)
    mixed = draw.normal(size=(2_000, 10)) + draw.normal(size=(2_000, 1))
    mean = float((np.corrcoef(mixed.T).sum() - 10) / 90)
    assert independent_trials(mixed) == pytest.approx(mean + (1 - mean) * 10, rel=1e-6)


def test_cscv_is_what_its_definition_gives() -> None:
    """Step by step as the paper of 2017 writes it (section 2), without the sums that the fast form uses."""
    table = np.random.default_rng(4).normal(size=(96, 7))
    blocks = 6
    parts = np.split(table, blocks)
    logits = []
    for pick in itertools.combinations(range(blocks), blocks // 2):
        inside = np.concatenate([parts[n] for n in pick])
        outside = np.concatenate([parts[n] for n in range(blocks) if n not in pick])
        best = int(np.argmax(inside.mean(axis=0) / inside.std(axis=0, ddof=1)))
        ranks = stats.rankdata(outside.mean(axis=0) / outside.std(axis=0, ddof=1))
        share = ranks[best] / (table.shape[1] + 1)
        logits.append(math.log(share / (1 - share)))
    found = overfitting(table, blocks)
    assert found is not None
    np.testing.assert_allclose(found.logits, logits, atol=1e-9)
    assert found.probability == pytest.approx(np.mean(np.array(logits) <= 0))


def test_a_real_edge_is_no_overfitting_and_noise_is() -> None:
    draw = np.random.default_rng(5)
    noise = draw.normal(0.0, 0.01, (800, 60))
    found = [overfitting(draw.normal(0.0, 0.01, (800, 60))) for _ in range(6)]
    assert 0.35 < float(np.mean([one.probability for one in found if one is not None])) < 0.7
    edge = noise.copy()
    edge[:, 7] += 0.004
    real = overfitting(edge)
    assert real is not None
    assert real.probability < 0.02
    assert overfitting(noise[:20]) is None
