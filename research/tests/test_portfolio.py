"""Portfolios against independent formulas."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from scipy import optimize

from alpha.errors import Misconfigured
from alpha.strategy.base import BarContext, StrategyState
from alpha.strategy.intents import Enter, Intent, OfEquity
from backtester.prepared import BacktestConfig
from backtester.venue import Costs
from research.one_account import together
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


def test_one_strategy_on_one_account_trades_as_it_does_alone() -> None:
    data = market(random_bars(3, 24 * 60))
    strategy = Crossing(CrossingParameters(usdt=Decimal(3000)))
    config = BacktestConfig(data.first_ms, data.end_ms, Decimal(10_000), Costs())
    alone = backtest_of(Crossing(CrossingParameters(usdt=Decimal(3000))), data, costs=Costs())
    found = together({"one": (strategy, data)}, config)
    assert found.results["one"].trades == alone.trades
    assert found.end_equity == alone.end_equity
    np.testing.assert_array_equal(found.equity, alone.equity)


class OfEquityCrossing(Crossing):
    """Its size is a share of the account."""

    def evaluate(self, moment: BarContext, state: StrategyState) -> list[Intent]:
        return [
            replace(intent, size=OfEquity(Decimal("0.5"))) if isinstance(intent, Enter) else intent
            for intent in super().evaluate(moment, state)
        ]


def test_sizes_come_from_the_equity_of_all_and_bars_may_differ_in_length() -> None:
    hours = market(random_bars(3, 24 * 60))
    quarters = market(random_bars(4, 24 * 60 * 4, "YUSDT", interval_ms=900_000))

    class Quarter(Crossing):
        @property
        def interval(self) -> str:
            return "15"

    config = BacktestConfig(hours.first_ms, hours.end_ms, Decimal(10_000), Costs())
    one = OfEquityCrossing(CrossingParameters())
    other = Quarter(CrossingParameters(symbols=("YUSDT",), usdt=Decimal(9_000)))
    found = together({"one": (one, hours), "other": (other, quarters)}, config)
    [mine, theirs] = found.results.values()
    assert mine.trades
    assert theirs.trades
    assert found.end_equity == mine.end_equity + theirs.end_equity - config.cash
    assert found.equity[-1] == pytest.approx(float(found.end_equity))
    # What both had made by then gives the size: positions of the other are marked where their bar has got to.
    for trade in mine.trades[3:]:
        before = found.equity[np.searchsorted(found.close_ms, trade.entry_ms) - 1]
        assert float(trade.size * trade.entry_price) == pytest.approx(before / 2, rel=0.03)
    alone = backtest_of(OfEquityCrossing(CrossingParameters()), hours, costs=Costs())
    assert [trade.size for trade in alone.trades] != [trade.size for trade in mine.trades]
