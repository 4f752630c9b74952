"""What a back-test must not be able to do: see ahead, trade for free, or differ from plain arithmetic."""

from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np
import pytest
from backtesting import Backtest
from backtesting import Strategy as LibraryStrategy
from hypothesis import given, settings
from hypothesis import strategies as st

from alpha.indicators import sma
from alpha.model.reason import Reason
from alpha.strategy.bars import Bars, to_decimal
from backtester.engine import Run, run
from backtester.market import MarketData
from backtester.prepared import BacktestConfig
from backtester.result import Result, Trade
from backtester.venue import Costs
from tests.support.toy_strategies import (
    HOUR_MS,
    START_MS,
    Crossing,
    CrossingParameters,
    backtest_of,
    changed,
    market,
    random_bars,
)

pandas = pytest.importorskip("pandas")  # comes with the library `backtesting`
seeds = st.integers(0, 2**32 - 1)
USUAL = Costs(Decimal("0.00055"), Decimal(2))


def crossing(**parameters: object) -> Crossing:
    return Crossing(CrossingParameters.model_validate(parameters))


@settings(max_examples=25, deadline=None)
@given(seed=seeds, cut=st.integers(30, 390), factor=st.sampled_from([0.5, 0.9, 1.1, 2.0]))
def test_changing_future_candles_changes_no_earlier_trade(seed: int, cut: int, factor: float) -> None:
    bars = random_bars(seed, 400)
    later = np.arange(len(bars)) >= cut
    other = changed(
        bars,
        {
            name: np.where(later, np.round(getattr(bars, name) * factor, 2), getattr(bars, name))
            for name in ("open", "high", "low", "close")
        },
    )
    cut_ms = START_MS + cut * HOUR_MS
    before, after = (
        backtest_of(crossing(), market(bars), costs=USUAL),
        backtest_of(crossing(), market(other), costs=USUAL),
    )
    assert [t for t in before.trades if t.exit_ms < cut_ms] == [t for t in after.trades if t.exit_ms < cut_ms]
    entered = [(t.entry_ms, t.size) for t in before.trades if t.entry_ms < cut_ms]
    assert entered == [(t.entry_ms, t.size) for t in after.trades if t.entry_ms < cut_ms][: len(entered)]
    assert before.equity[:cut].tobytes() == after.equity[:cut].tobytes()


def shifted(trade: Trade, by_ms: int) -> Trade:
    return replace(trade, entry_ms=trade.entry_ms + by_ms, exit_ms=trade.exit_ms + by_ms)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, places=st.integers(1, 30))
def test_shifting_the_data_shifts_the_trades(seed: int, places: int) -> None:
    bars = random_bars(seed, 300)
    later = Bars(
        bars.symbol, HOUR_MS, bars.start_ms + places * HOUR_MS, bars.open, bars.high, bars.low, bars.close, bars.volume
    )
    here, there = backtest_of(crossing(), market(bars)), backtest_of(crossing(), market(later))
    assert [shifted(trade, places * HOUR_MS) for trade in here.trades] == there.trades


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_without_costs_net_is_gross_and_the_account_ends_with_the_sum_of_the_trades(seed: int) -> None:
    result = backtest_of(crossing(), market(random_bars(seed, 300)))
    assert all(trade.net == trade.gross for trade in result.trades)
    held = sum((position.unrealised for position in result.open_at_end), Decimal(0))
    assert result.end_equity == result.cash + sum((trade.net for trade in result.trades), Decimal(0)) + held


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_double_fees_are_exactly_twice_the_fees_on_the_same_trades(seed: int) -> None:
    data = market(random_bars(seed, 300), funding_rate=Decimal("0.0001"))
    once = backtest_of(crossing(), data, costs=Costs(Decimal("0.00055"), Decimal(0)))
    twice = backtest_of(crossing(), data, costs=Costs(Decimal("0.0011"), Decimal(0)))
    assert [(t.entry_ms, t.exit_ms, t.gross, t.fees * 2, t.funding) for t in once.trades] == [
        (t.entry_ms, t.exit_ms, t.gross, t.fees, t.funding) for t in twice.trades
    ]


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_the_books_add_up_to_the_last_digit(seed: int) -> None:
    data = market(random_bars(seed, 400), funding_rate=Decimal("0.0001"))
    result = backtest_of(crossing(), data, costs=USUAL)
    net = sum((trade.gross - trade.fees + trade.funding for trade in result.trades), Decimal(0))
    if not result.open_at_end:
        assert result.end_equity - result.cash == net
    assert result.equity[-1] == pytest.approx(float(result.end_equity), abs=1e-6)


def slow(bars: Bars, fee: str) -> list[tuple[int, int, str, Decimal]]:
    """The crossing rule with a stop of 3 % and a target of 6 %, bar by bar: entry bar, exit bar, reason, net."""
    opens, highs, lows, closes = (
        [to_decimal(x) for x in c.tolist()] for c in (bars.open, bars.high, bars.low, bars.close)
    )
    known, cent, found = bars.close.tolist(), Decimal("0.01"), []
    above = [n >= 20 and sum(known[n - 5 : n]) / 5 > sum(known[n - 20 : n]) / 20 for n in range(len(known) + 1)]
    price, entry, qty, stop, target = None, 0, cent, cent, cent
    for n in range(21, len(known)):
        out = None
        if price is not None:
            if opens[n] <= stop or opens[n] >= target:
                out = ("stop_loss" if opens[n] <= stop else "take_profit", opens[n])
            elif not above[n]:
                out = ("signal", opens[n])
        elif above[n] and not above[n - 1]:
            entry, price, qty = n, opens[n], (1000 / closes[n - 1]).quantize(Decimal("0.1"), ROUND_FLOOR)
            stop = (price * Decimal("0.97")).quantize(cent, ROUND_FLOOR)
            target = (price * Decimal("1.06")).quantize(cent, ROUND_CEILING)
        if price is not None and out is None and (lows[n] <= stop or highs[n] >= target):
            out = ("stop_loss", stop) if lows[n] <= stop else ("take_profit", target)
        if price is not None and out is not None:
            net = (out[1] - price) * qty - (out[1] + price) * qty * Decimal(fee)
            found.append((entry, n, out[0], net))
            price = None
    return found


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_trades_equal_a_slow_reference_trade_for_trade(seed: int) -> None:
    bars = random_bars(seed, 300)
    expected = slow(bars, "0.00055")
    result = backtest_of(crossing(), market(bars), costs=Costs(Decimal("0.00055"), Decimal(0)))
    ours = [
        ((t.entry_ms - START_MS) // HOUR_MS, (t.exit_ms - START_MS) // HOUR_MS, t.reason.value, t.net)
        for t in result.trades
    ]
    assert ours == expected


def test_the_slow_reference_has_every_kind_of_exit_to_compare() -> None:
    kinds = {row[2] for seed in range(10) for row in slow(random_bars(seed, 300), "0")}
    assert kinds == {"stop_loss", "take_profit", "signal"}


class LibraryCrossing(LibraryStrategy):  # type: ignore[misc]
    """The same rule for the library `backtesting`."""

    def init(self) -> None:
        self.fast = self.I(sma, np.asarray(self.data.Close, dtype=np.float64), 5)
        self.slow = self.I(sma, np.asarray(self.data.Close, dtype=np.float64), 20)

    def next(self) -> None:
        above, was_above = self.fast[-1] > self.slow[-1], self.fast[-2] > self.slow[-2]
        if self.position:
            if not above:
                self.position.close()
        elif above and not was_above and not np.isnan(self.slow[-2]):
            self.buy(size=10)


def library_trades(bars: Bars, fee: float = 0.0) -> list[tuple[int, int, float, float, float]]:
    """The library's trades of ten units each: entry bar, exit bar, entry price, exit price, profit after fees."""
    frame = pandas.DataFrame(
        {"Open": bars.open, "High": bars.high, "Low": bars.low, "Close": bars.close, "Volume": bars.volume},
        index=pandas.to_datetime(bars.start_ms, unit="ms"),
    )
    stats = Backtest(frame, LibraryCrossing, cash=1_000_000_000, commission=fee, finalize_trades=False).run()
    columns = (stats["_trades"][name] for name in ("EntryBar", "ExitBar", "EntryPrice", "ExitPrice", "PnL"))
    return [(int(a), int(b), float(c), float(d), float(e)) for a, b, c, d, e in zip(*columns, strict=True)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fee", ["0", "0.00055"])
@pytest.mark.parametrize("seed", range(3))
def test_a_published_library_makes_the_same_trades_and_the_same_money(seed: int, fee: str) -> None:
    bars = random_bars(seed, 400)
    result = backtest_of(crossing(stop="0.9", take_profit=None), market(bars), costs=Costs(Decimal(fee), Decimal(0)))
    theirs = library_trades(bars, float(fee))
    assert len(theirs) > 4
    assert all(trade.reason is Reason.SIGNAL for trade in result.trades)
    for ours, (entered, left, entry_price, exit_price, profit) in zip(result.trades, theirs, strict=True):
        assert ((ours.entry_ms - START_MS) // HOUR_MS, (ours.exit_ms - START_MS) // HOUR_MS) == (entered, left)
        assert (float(ours.entry_price), float(ours.exit_price)) == (entry_price, exit_price)
        assert float(ours.net / ours.size * 10) == pytest.approx(profit, abs=1e-6)


def walked(data: MarketData, terms: BacktestConfig, strategy: Crossing) -> Result:
    """The same back-test with no bar left out: every bar is walked, every point is looked at."""

    class Patient(Run):
        def _is_calm(self, now_ms: int, worst: float, best: float) -> bool:
            return False

        def _endangers(self, worst: float, value: float) -> bool:
            return True

    return Patient(strategy, data, terms).result()


@settings(max_examples=20, deadline=None)
@given(seed=seeds, count=st.integers(1, 3))
def test_leaving_out_bars_in_which_nothing_happens_changes_nothing(seed: int, count: int) -> None:
    series = [random_bars(seed + number, 300, f"X{number}USDT") for number in range(count)]
    data = market(*series, funding_rate=Decimal("0.0001"))
    terms = BacktestConfig(data.first_ms, data.end_ms, Decimal(10_000), USUAL)
    strategy = crossing(symbols=tuple(bars.symbol for bars in series))
    quick, patient = run(strategy, data, terms), walked(data, terms, strategy)
    assert quick.trades == patient.trades
    assert quick.end_equity == patient.end_equity
