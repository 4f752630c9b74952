"""The back-test alone, of strategies that want everything: nothing is left out for speed, and its sums add up."""

from collections import Counter
from decimal import Decimal

import pytest

from backtester.engine import Run
from backtester.prepared import BacktestConfig
from backtester.result import Result
from backtester.venue import Costs
from tests.parity.random_strategy import RandomParameters, RandomStrategy
from tests.support.toy_strategies import market, random_bars

SYMBOLS = ("AUSDT", "BUSDT", "CUSDT")
BARS = 500
D = Decimal


class Walked(Run):
    """The same back-test with every bar and every point of it walked."""

    def _is_quiet(self, now_ms: int, lows: dict[str, float], highs: dict[str, float]) -> bool:
        super()._is_quiet(now_ms, lows, highs)
        self.venue.endangered = True
        return False


def result_of(kind: type[Run], seed: int) -> Result:
    series = [
        random_bars(10 * seed + place, BARS, symbol, volatility=0.002, interval_ms=300_000)
        for place, symbol in enumerate(SYMBOLS)
    ]
    data = market(*series, funding_rate=D("0.0001"))
    strategy = RandomStrategy(RandomParameters(seed=seed, symbols=SYMBOLS))
    return kind(strategy, data, BacktestConfig(data.first_ms, data.end_ms, D(100_000), Costs())).result()


@pytest.mark.parametrize("seed", range(1, 16))
def test_a_bar_that_is_not_walked_would_have_changed_nothing(seed: int) -> None:
    fast, slow = result_of(Run, seed), result_of(Walked, seed)
    assert fast.fills == slow.fills
    assert fast.trades == slow.trades
    assert fast.end_equity == slow.end_equity
    assert fast.equity.tolist() == slow.equity.tolist()


@pytest.mark.parametrize("seed", range(1, 16))
def test_the_fills_add_up_to_the_trades_and_the_balance(seed: int) -> None:
    result = result_of(Run, seed)
    sizes: Counter[str] = Counter()
    cash = result.cash
    for fill in result.fills:
        sign = 1 if fill.side == "Buy" else -1
        sizes[fill.symbol] += fill.qty * sign  # type: ignore[assignment]
        cash -= fill.qty * fill.price * sign + fill.fee
    held = {row.symbol: row.size * row.direction.sign for row in result.open_at_end}
    assert {symbol: size for symbol, size in sizes.items() if size} == held
    marked = sum((row.size * row.direction.sign * row.mark_price for row in result.open_at_end), D(0))
    funding = sum((trade.funding for trade in result.trades), D(0))
    open_funding = result.end_equity - cash - marked - funding
    if not held:
        assert open_funding == 0
    fees = sum((fill.fee for fill in result.fills), D(0))
    assert sum((trade.fees for trade in result.trades), D(0)) <= fees


def test_the_random_strategies_want_everything() -> None:
    reasons: set[str] = set()
    skipped: set[str] = set()
    several = 0
    for seed in range(1, 16):
        result = result_of(Run, seed)
        reasons |= {trade.reason.value for trade in result.trades}
        skipped |= set(result.skipped)
        several += len(result.fills) > 2 * len(result.trades)
    assert reasons >= {"stop_loss", "take_profit", "trailing_stop", "signal", "break_even", "time_limit"}
    assert "a post-only order would have taken" in skipped
    assert several >= 10
