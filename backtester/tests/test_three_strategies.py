"""The honesty checks on the strategies themselves, limits included, over made-up markets in which they trade often."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from alpha.strategy.bars import Bars
from alpha.strategy.base import Strategy, Universe
from backtester.engine import Run, run
from backtester.market import MarketData, UniverseMembership
from backtester.prepared import BacktestConfig
from backtester.venue import Costs
from strategies.lxalgo.parameters import LXAlgoParameters
from strategies.lxalgo.strategy import LXAlgo
from strategies.momentum.parameters import MomentumParameters
from strategies.momentum.strategy import Momentum
from strategies.shortseller.parameters import ShortSellerParameters
from strategies.shortseller.strategy import ShortSeller
from tests.support.toy_strategies import HOUR_MS, START_MS, backtest_of, changed, market, random_bars

COSTS = Costs(Decimal("0.00055"), Decimal(2))
SYMBOLS = ("AUSDT", "BUSDT", "CUSDT")
PRICES = ("open", "high", "low", "close")
FOUR_HOURS, FIVE_MINUTES = 4 * HOUR_MS, HOUR_MS // 12


def short_seller() -> Strategy[Any, Any]:
    each = {
        name: dict.fromkeys(SYMBOLS, Decimal(value))
        for name, value in (
            ("stop_loss", "0.01"),
            ("take_profit", "0.02"),
            ("trailing_distance", "0.004"),
            ("trailing_from", "0.006"),
        )
    }
    return ShortSeller(
        ShortSellerParameters.model_validate({"symbols": SYMBOLS, "ema_fast": 20, "ema_slow": 50, **each})
    )


def lxalgo() -> Strategy[Any, Any]:
    return LXAlgo(
        LXAlgoParameters.model_validate(
            {
                "symbols": SYMBOLS,
                "rsi_period": 14,
                "lookback": 24,
                "min_pump_pct": 1.5,
                "size_usdt": 4000,
                "stop": "0.02",
                "take_profit": "0.05",
                "trailing_activation": "0.03",
                "trailing_distance": "0.01",
                "break_even": "0.015",
                "losing_hours": 3,
                "max_hours": 12,
                "open_profit_arm": "0.01",
            }
        )
    )


def momentum() -> Strategy[Any, Any]:
    return Momentum(MomentumParameters(symbols=SYMBOLS, width_lookback=30, min_relative_volume=1.2, max_positions=2))


KINDS: dict[str, tuple[Callable[[], Strategy[Any, Any]], int, float]] = {
    "ShortSeller": (short_seller, FIVE_MINUTES, 0.0025),
    "LXAlgo": (lxalgo, FIVE_MINUTES, 0.004),
    "Momentum": (momentum, FOUR_HOURS, 0.015),
}


def made(kind: str, seed: int, count: int = 2000) -> tuple[Strategy[Any, Any], list[Bars]]:
    build, interval_ms, volatility = KINDS[kind]
    series = [
        random_bars(seed * 10 + place, count, symbol, volatility=volatility, interval_ms=interval_ms)
        for place, symbol in enumerate(SYMBOLS)
    ]
    return build(), series


def on(series: list[Bars]) -> MarketData:
    return market(*series, funding_rate=Decimal("0.0001"))


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_changing_future_candles_changes_nothing_before_them(kind: str, seed: int) -> None:
    strategy, series = made(kind, seed)
    cut = 1500
    later = np.arange(2000) >= cut
    other = [
        changed(
            bars,
            {name: np.where(later, np.round(getattr(bars, name) * 1.3, 2), getattr(bars, name)) for name in PRICES},
        )
        for bars in series
    ]
    cut_ms = START_MS + cut * series[0].interval_ms
    before, after = backtest_of(strategy, on(series), costs=COSTS), backtest_of(strategy, on(other), costs=COSTS)
    kept = [trade for trade in before.trades if trade.exit_ms < cut_ms]
    assert len(kept) >= 8
    assert kept == [trade for trade in after.trades if trade.exit_ms < cut_ms]
    assert before.equity[:cut].tobytes() == after.equity[:cut].tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_week_later_is_the_same_a_week_later(kind: str) -> None:
    week_ms = 7 * 24 * HOUR_MS
    strategy, series = made(kind, 3, 800)
    later = [
        Bars(b.symbol, b.interval_ms, b.start_ms + week_ms, b.open, b.high, b.low, b.close, b.volume) for b in series
    ]
    here, there = backtest_of(strategy, on(series), costs=COSTS), backtest_of(strategy, on(later), costs=COSTS)
    assert len(here.trades) >= 5
    moved = [replace(t, entry_ms=t.entry_ms + week_ms, exit_ms=t.exit_ms + week_ms) for t in here.trades]
    first_month = [trade for trade in moved if trade.exit_ms < START_MS + 24 * 24 * HOUR_MS]
    assert first_month == there.trades[: len(first_month)]


class Patient(Run):
    """Leaves no bar and no point out."""

    def _is_calm(self, now_ms: int, worst: float, best: float) -> bool:
        return False

    def _endangers(self, worst: float, value: float) -> bool:
        return True


@pytest.mark.parametrize("seed", [4, 5, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_leaving_out_quiet_bars_changes_nothing(kind: str, seed: int) -> None:
    strategy, series = made(kind, seed)
    data = on(series)
    terms = BacktestConfig(data.first_ms, data.end_ms, Decimal(10_000), COSTS)
    quick, patient = run(strategy, data, terms), Patient(strategy, data, terms).result()
    assert quick.trades == patient.trades
    assert quick.limit_hits == patient.limit_hits
    assert quick.end_equity == patient.end_equity
    assert quick.equity.tobytes() == patient.equity.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_every_symbol_alone_in_memory_order_or_another_gives_the_same_trades(kind: str) -> None:
    strategy, series = made(kind, 7, 1200)
    there = backtest_of(strategy, on(series[::-1]), costs=COSTS)
    assert backtest_of(strategy, on(series), costs=COSTS).trades == there.trades


def test_the_made_up_markets_meet_limits_and_every_kind_of_exit() -> None:
    reasons: set[str] = set()
    hits = 0
    for kind in KINDS:
        for seed in (1, 2, 4, 5, 6):
            strategy, series = made(kind, seed)
            result = backtest_of(strategy, on(series), costs=COSTS)
            reasons |= {trade.reason.value for trade in result.trades}
            hits += len(result.limit_hits)
    expected = {"stop_loss", "take_profit", "trailing_stop", "signal", "time_limit", "regime_change", "break_even"}
    assert reasons >= expected
    assert hits > 0


def test_a_symbol_enters_the_universe_once_its_turnover_was_seen() -> None:
    strategy = LXAlgo(
        LXAlgoParameters.model_validate(
            {"rsi_period": 5, "lookback": 12, "min_pump_pct": 1.0, "min_turnover_usdt": 30_000_000}
        )
    )
    bars = random_bars(8, 1500, "AUSDT", volatility=0.004, interval_ms=FIVE_MINUTES)
    quiet = np.arange(1500) < 900
    rich = changed(bars, {"volume": np.where(quiet, 100.0, bars.volume * 10)})
    poor = changed(bars, {"volume": np.full(1500, 100.0)})
    assert not backtest_of(strategy, market(poor)).trades
    trades = backtest_of(strategy, market(rich)).trades
    assert trades
    assert min(trade.entry_ms for trade in trades) > START_MS + 900 * FIVE_MINUTES


def test_an_operator_who_resumes_lets_a_halted_bot_trade_again() -> None:
    strategy, series = made("ShortSeller", 1, 6000)
    data = on(series)
    never = run(strategy, data, BacktestConfig(data.first_ms, data.end_ms, Decimal(10_000), COSTS))
    daily = run(
        strategy, data, BacktestConfig(data.first_ms, data.end_ms, Decimal(10_000), COSTS, resume_after_ms=24 * HOUR_MS)
    )
    assert any("drawdown" in hit.text for hit in never.limit_hits)
    assert any("resumes" in hit.text for hit in daily.limit_hits)
    assert len(daily.trades) > len(never.trades)
    assert daily.trades[: len(never.trades)] == never.trades


@pytest.mark.parametrize("interval_ms", [FIVE_MINUTES, FOUR_HOURS, 24 * HOUR_MS])
def test_the_universe_knows_only_whole_hours_that_are_over(interval_ms: int) -> None:
    count = 40 * 24 * HOUR_MS // interval_ms
    bars = random_bars(9, count, "AUSDT", interval_ms=interval_ms)
    cut = count // 2
    rich = changed(bars, {"volume": np.where(np.arange(count) < cut, 1.0, 1e9)})
    members = UniverseMembership(Universe((), Decimal(1_000_000), HOUR_MS), market(rich))
    turn_ms = START_MS + cut * interval_ms
    assert members.at(turn_ms) == []
    assert members.at(turn_ms + max(interval_ms, HOUR_MS) - HOUR_MS) == []
    assert members.at(turn_ms + max(interval_ms, HOUR_MS)) == ["AUSDT"]
