"""Figures that qualify figures, each against an independent formula or library."""

import math
from decimal import Decimal

import numpy as np
import pytest
from scipy import stats

from backtester.confidence import block_places, confidence, daily_returns, rolling_sharpe, t_statistic
from backtester.regimes import by_regime, held, with_costs
from backtester.venue import Costs
from tests.support.toy_strategies import Crossing, CrossingParameters, backtest_of, market, random_bars

pandas = pytest.importorskip("pandas")
USUAL = Costs(Decimal("0.00055"), Decimal(2))


def test_the_t_statistic_is_scipys() -> None:
    values = np.random.default_rng(3).normal(0.1, 1.0, 57)
    assert t_statistic(values) == pytest.approx(stats.ttest_1samp(values, 0.0).statistic, rel=1e-12)
    assert t_statistic(values[:1]) is None


def test_the_rolling_sharpe_ratio_is_pandas() -> None:
    returns = np.random.default_rng(3).normal(0.001, 0.02, 200)
    rolled = pandas.Series(returns).rolling(90)
    expected = (rolled.mean() / rolled.std() * math.sqrt(365.25)).to_numpy()
    np.testing.assert_allclose(rolling_sharpe(returns), expected, rtol=1e-9)


def test_the_block_bootstraps_interval_covers_the_mean_as_often_as_it_says() -> None:
    random = np.random.default_rng(5)
    covered = 0
    for seed in range(200):
        values = random.normal(0.0, 1.0, 80)
        low, high = np.quantile(values[block_places(80, 400, seed)].mean(axis=1), (0.05, 0.95))
        covered += bool(low <= 0 <= high)
    assert 160 <= covered <= 194  # 90 % of 200, less what a bootstrap of 80 values loses


def test_blocks_keep_neighbours_together() -> None:
    places = block_places(100, 50, 1, length=10)
    assert places.shape == (50, 100)
    assert (np.diff(places.reshape(50, 10, 10), axis=2) % 100 == 1).all()


def test_the_figures_of_a_back_test_are_those_of_its_trades() -> None:
    data = market(random_bars(4, 2_000))
    result = backtest_of(Crossing(CrossingParameters()), data, costs=USUAL)
    found = confidence(result)
    nets = sorted(float(trade.net) for trade in result.trades)
    assert found.best_five == pytest.approx(sum(nets[-5:]))
    assert found.t_statistic == pytest.approx(
        stats.ttest_1samp([trade.return_pct for trade in result.trades], 0.0).statistic
    )
    assert found.held_mean_hours == pytest.approx(
        np.mean([(trade.exit_ms - trade.entry_ms) / 3_600_000 for trade in result.trades])
    )
    assert found.mean_low_pct is not None
    assert found.mean_high_pct is not None
    assert found.mean_return_pct is not None
    assert found.mean_low_pct < found.mean_return_pct < found.mean_high_pct
    assert 0 <= (found.chance_of_loss_pct or 0) <= 100
    assert confidence(result) == found, "the draws come from a seed"


def test_other_costs_on_the_same_trades_are_what_a_run_with_them_makes_to_first_order() -> None:
    data = market(random_bars(4, 2_000))
    result = backtest_of(Crossing(CrossingParameters(stop=Decimal("0.9"), take_profit=None)), data, costs=USUAL)
    dear = Costs(Decimal("0.00055"), Decimal(20))
    again = backtest_of(Crossing(CrossingParameters(stop=Decimal("0.9"), take_profit=None)), data, costs=dear)
    assert len(again.trades) == len(result.trades)
    told = with_costs(result, USUAL, slippage_bps=20)
    assert told == pytest.approx(sum(float(trade.net) for trade in again.trades), abs=0.02 * len(result.trades))
    assert with_costs(result, USUAL, slippage_bps=2) == pytest.approx(sum(float(t.net) for t in result.trades))


def test_holding_is_first_open_to_last_close() -> None:
    first, second = random_bars(1, 300, "BTCUSDT"), random_bars(2, 300, "XUSDT")
    data = market(first, second)
    result = backtest_of(Crossing(CrossingParameters(symbols=("XUSDT",))), data)
    found = held(result, data)
    changes = [(bars.close[-1] / bars.open[0] - 1) * 100 for bars in (first, second)]
    assert found.bitcoin_pct == pytest.approx(changes[0])
    assert found.equal_weight_pct == pytest.approx(np.mean(changes))
    assert found.coins == 2


def test_every_trade_is_in_one_volatility_and_one_trend() -> None:
    data = market(random_bars(4, 4_000))
    result = backtest_of(Crossing(CrossingParameters()), data)
    regimes = {regime.name: regime for regime in by_regime(result, data)}
    low, high = regimes["low volatility"], regimes["high volatility"]
    assert low.trades + high.trades == regimes["trend up"].trades + regimes["trend down"].trades
    assert abs(low.trades - high.trades) <= 1


def test_daily_returns_multiply_to_the_whole() -> None:
    result = backtest_of(Crossing(CrossingParameters()), market(random_bars(4, 2_000)))
    assert np.prod(1 + daily_returns(result)) == pytest.approx(result.equity[-1] / float(result.cash))
