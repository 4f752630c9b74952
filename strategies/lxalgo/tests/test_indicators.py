"""LXAlgo's indicators: their formulas, their history, and the hint."""

import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpha.strategy.bars import Bars, Series
from alpha.strategy.base import BarContext, Portfolio
from strategies.lxalgo.parameters import LXAlgoParameters
from strategies.lxalgo.strategy import INTERVAL_MS, LXAlgo, LXAlgoState
from strategies.lxalgo.tests.markets import random_bars

DAY_BARS = 288


def last(bars: Bars, count: int) -> Bars:
    part = slice(len(bars) - count, None)
    return Bars(
        bars.symbol,
        bars.interval_ms,
        bars.start_ms[part],
        bars.open[part],
        bars.high[part],
        bars.low[part],
        bars.close[part],
        bars.volume[part],
    )


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), extra=st.integers(0, DAY_BARS))
def test_the_last_bars_alone_give_every_indicator_its_bits(seed: int, extra: int) -> None:
    strategy = LXAlgo(LXAlgoParameters())
    bars = random_bars(seed, strategy.history + extra)
    whole, alone = strategy.indicators(bars), strategy.indicators(last(bars, strategy.history))
    for name, values in whole.items():
        assert not np.isnan(alone[name][-1]), name
        assert values[-1:].tobytes() == alone[name][-1:].tobytes(), name


def test_the_history_is_no_longer_than_it_must_be() -> None:
    strategy = LXAlgo(LXAlgoParameters())
    days = -(-strategy.history // DAY_BARS) * DAY_BARS
    bars = random_bars(1, days + DAY_BARS)
    assert strategy.history == 10 * 84 + DAY_BARS + 1
    assert np.isnan(strategy.indicators(last(bars, strategy.history - 1))["rsi"][-1])


def test_changes_are_in_percent_of_what_was() -> None:
    bars = random_bars(3, 400)
    found = LXAlgo(LXAlgoParameters()).indicators(bars)
    close, opened, volume = bars.close.tolist(), bars.open.tolist(), bars.volume.tolist()
    assert found["pump"][350] == pytest.approx((close[350] / opened[338] - 1) * 100)
    assert found["price_change"][350] == pytest.approx((close[350] / close[206] - 1) * 100)
    assert found["volume_change"][350] == pytest.approx((volume[350] / volume[206] - 1) * 100)
    assert found["spread"][350] == pytest.approx((bars.high[350] - bars.low[350]) / close[350] * 100)
    returns = [(close[n] / close[n - 1] - 1) * 100 for n in range(207, 351)]
    assert found["volatility"][350] == pytest.approx(statistics.stdev(returns))


def test_volume_out_of_nothing_counts_as_a_rise_and_nothing_stays_nothing() -> None:
    bars = random_bars(3, 400)
    volume = bars.volume.copy()
    volume[[100, 244]] = 0.0, 5.0
    volume[[101, 245]] = 0.0
    changed = Bars(bars.symbol, bars.interval_ms, bars.start_ms, bars.open, bars.high, bars.low, bars.close, volume)
    found = LXAlgo(LXAlgoParameters()).indicators(changed)["volume_change"]
    assert found[244] == np.inf
    assert found[245] == 0.0


@pytest.mark.parametrize("seed", range(4))
def test_the_hint_is_true_exactly_where_the_rule_buys(seed: int) -> None:
    strategy = LXAlgo(LXAlgoParameters())
    series = Series.of(bars := random_bars(seed, 3000), strategy.indicators(bars))
    hint = strategy.may_enter(series)
    assert (hint & series.ready).any()
    for place in np.flatnonzero(series.ready).tolist():
        view, p = series.view(place), strategy.parameters
        eight = view["score"] >= p.rule8_score and view["spread"] < p.rule8_spread_pct
        six = view["rsi"] > p.rule6_rsi and view["volatility"] > p.rule6_volatility_pct
        assert (view["pump"] >= p.min_pump_pct and (eight or six)) == bool(hint[place])
        moment = BarContext(view.start_ms, view.start_ms + INTERVAL_MS, {view.symbol: view}, Portfolio({}))
        assert bool(strategy.evaluate(moment, LXAlgoState())) == bool(hint[place])


def test_rule_eight_is_reached_with_two_true_of_five() -> None:
    bars = random_bars(2, 3000)
    found = LXAlgo(LXAlgoParameters()).indicators(bars)
    known = ~np.isnan(found["rsi"])
    counted = sum(
        part[known].astype(int)
        for part in (
            found["rsi"] > 60,
            found["volume_change"] > 50,
            found["spread"] < 3,
            found["volatility"] > 0.005,
            found["price_change"] > 5,
        )
    )
    assert np.array_equal(found["score"][known], counted)
