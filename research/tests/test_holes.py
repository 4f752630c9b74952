"""Sweeps and portfolios over candles with holes trade each sound part, as a back-test does."""

from decimal import Decimal

import numpy as np

from backtester.engine import Run
from backtester.parts import HOLE
from backtester.prepared import BacktestConfig
from backtester.tests.test_holes import gridded, holed
from backtester.venue import Costs
from research.data_pack import pack, unpack
from research.evaluate import Evaluator, SweepTerms
from research.one_account import together
from tests.support.toy_strategies import Crossing, CrossingParameters, market, random_bars

D = Decimal
SYMBOLS = ("AUSDT", "BUSDT")
_DATA = gridded(
    market(
        *(
            holed(random_bars(place, 24 * 40, name), np.random.default_rng(place), 8)
            for place, name in enumerate(SYMBOLS)
        )
    )
)
_CONFIG = BacktestConfig(_DATA.first_ms, _DATA.end_ms, D(10_000), Costs())


def crossing() -> Crossing:
    return Crossing(CrossingParameters(symbols=SYMBOLS, usdt=D(3_000)))


def test_a_trial_over_holes_is_the_back_test_here_and_where_the_data_were_sent() -> None:
    expected = Run(crossing(), _DATA, _CONFIG).result()
    assert any(trade.exit_why == HOLE for trade in expected.trades)
    terms = SweepTerms(_CONFIG.from_ms, _CONFIG.to_ms, D(10_000), Costs(), None, "sharpe", {})
    for data in (_DATA, unpack(pack(_DATA))):
        trades, equity, first_ms = Evaluator(Crossing, data, terms, []).equity(crossing())
        assert (trades, first_ms) == (len(expected.trades), _DATA.first_ms)
        np.testing.assert_allclose(equity, expected.equity, rtol=1e-12)


def test_one_of_a_portfolio_trades_over_holes_as_it_does_alone() -> None:
    alone = Run(crossing(), _DATA, _CONFIG).result()
    found = together({"one": (crossing(), _DATA)}, _CONFIG)
    assert found.results["one"].trades == alone.trades
    assert found.end_equity == alone.end_equity
    np.testing.assert_array_equal(found.equity, alone.equity)
