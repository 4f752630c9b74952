"""Portfolios against independent formulas."""

from decimal import Decimal

import numpy as np
import pytest
from scipy import optimize

from alpha.errors import Misconfigured
from research.portfolio import portfolio, risk_parity
from tests.support.toy_strategies import Crossing, CrossingParameters, backtest_of, market, random_bars


def test_parity_gives_every_part_the_same_risk() -> None:
    draw = np.random.default_rng(1)
    covariance = np.cov(draw.normal(size=(500, 4)) @ draw.normal(size=(4, 4)) * [1, 2, 3, 4], rowvar=False)
    weights = risk_parity(covariance)
    shares = weights * (covariance @ weights) / (weights @ covariance @ weights)
    np.testing.assert_allclose(shares, 0.25, atol=1e-9)
    assert weights.sum() == pytest.approx(1)
    found = optimize.minimize(
        lambda x: 0.5 * x @ covariance @ x - np.log(x).sum() / 4, np.ones(4) / 4, bounds=[(1e-9, None)] * 4, tol=1e-14
    )
    np.testing.assert_allclose(weights, found.x / found.x.sum(), atol=1e-4)


def test_two_uncorrelated_parts_are_weighted_by_their_spread() -> None:
    np.testing.assert_allclose(risk_parity(np.diag([1.0, 4.0])), [2 / 3, 1 / 3], atol=1e-12)
    np.testing.assert_allclose(risk_parity(np.diag([1.0, 0.0])), [1.0, 0.0])


def test_the_joined_curve_is_the_mean_of_the_curves() -> None:
    results = {
        name: backtest_of(Crossing(CrossingParameters(usdt=Decimal(usdt))), market(random_bars(seed, 24 * 60)))
        for name, seed, usdt in (("one", 3, 3000), ("two", 4, 6000))
    }
    found = portfolio(results)
    ends = [float(result.end_equity / result.cash) for result in results.values()]
    assert found.joined[-1] == pytest.approx(np.mean(ends))
    assert found.contribution.sum() == pytest.approx((np.mean(ends) - 1) * 100)
    assert found.risk_share.sum() == pytest.approx(1)
    np.testing.assert_allclose(found.correlation, np.corrcoef(found.returns.T))
    short = backtest_of(Crossing(CrossingParameters()), market(random_bars(3, 24 * 5)))
    with pytest.raises(Misconfigured, match="days in common"):
        portfolio({"one": results["one"], "short": short})
