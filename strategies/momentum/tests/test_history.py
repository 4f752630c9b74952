"""The last `history` bars give the same bits as all bars; the hint agrees with the rule."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpha.strategy.bars import Bars, Series
from alpha.strategy.base import BarContext, Portfolio, StrategyState
from strategies.momentum.parameters import MomentumParameters
from strategies.momentum.strategy import INTERVAL_MS, Momentum
from strategies.momentum.tests.markets import random_bars

SMALL = MomentumParameters(btc_filter=True, btc_sma_days=5, btc_adx_days=2, bands_period=6, width_lookback=9)


def last(bars: Bars, end: int, count: int) -> Bars:
    part = slice(end - count, end)
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


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), extra=st.integers(0, 12))
def test_the_last_bars_alone_give_every_indicator_its_bits(seed: int, extra: int) -> None:
    strategy = Momentum(SMALL)
    count = strategy.history + extra
    bars = random_bars(seed, count)
    whole = strategy.indicators(bars)
    alone = strategy.indicators(last(bars, count, strategy.history))
    for name, values in whole.items():
        assert not np.isnan(alone[name][-1]), name
        assert values[-1:].tobytes() == alone[name][-1:].tobytes(), name


def test_the_default_history_is_that_of_the_width_ranking() -> None:
    assert Momentum(MomentumParameters()).history == 109


@pytest.mark.parametrize("seed", range(8))
def test_the_hint_is_true_exactly_where_the_rule_buys(seed: int) -> None:
    strategy = Momentum(MomentumParameters())
    series = Series.of(bars := random_bars(seed, 600), strategy.indicators(bars))
    hint = strategy.may_enter(series)
    for place in np.flatnonzero(series.ready).tolist():
        view, p = series.view(place), strategy.parameters
        narrow, strong = view["percentile"] < p.max_width_percentile, view["rvr"] > p.min_relative_volume
        assert (narrow and strong and view.close > view["upper"] and view.close > view["sma"]) == bool(hint[place])
        moment = BarContext(view.start_ms, view.start_ms + INTERVAL_MS, {view.symbol: view}, Portfolio({}))
        assert bool(strategy.evaluate(moment, StrategyState())) == bool(hint[place])


def test_the_random_bars_hold_signals_to_compare() -> None:
    strategy = Momentum(MomentumParameters())
    found = [
        int(strategy.may_enter(Series.of(bars, strategy.indicators(bars))).sum())
        for bars in (random_bars(seed, 600) for seed in range(8))
    ]
    assert sum(found) >= 5


def test_the_filter_follows_completed_days_only() -> None:
    strategy = Momentum(SMALL)
    bars = random_bars(5, 400)
    rising = strategy.indicators(bars)["rising"]
    known = np.flatnonzero(~np.isnan(rising))
    changes = [place for place in known[1:].tolist() if rising[place] != rising[place - 1]]
    assert changes
    assert all((int(bars.start_ms[place]) + INTERVAL_MS) % 86_400_000 == 0 for place in changes)
