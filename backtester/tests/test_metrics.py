"""The figures of a report, against sums done by hand."""

from decimal import Decimal

import numpy as np
import pytest

from alpha.model.reason import Reason
from alpha.model.side import Direction
from backtester.metrics import by_month, by_reason, by_symbol, by_year, drawdowns, measure
from backtester.result import Result, Trade
from tests.support.toy_strategies import HOUR_MS, START_MS

DAY_MS = 24 * HOUR_MS


def trade(symbol: str, gross: str, day: int, reason: Reason = Reason.SIGNAL) -> Trade:
    return Trade(
        symbol=symbol,
        direction=Direction.LONG,
        size=Decimal(1),
        entry_ms=START_MS + day * DAY_MS,
        entry_price=Decimal(100),
        exit_ms=START_MS + day * DAY_MS + HOUR_MS,
        exit_price=Decimal(100) + Decimal(gross),
        reason=reason,
        gross=Decimal(gross),
        fees=Decimal(1),
        funding=Decimal("-0.5"),
        entry_why="",
        exit_why="",
    )


def result(equity: list[float], trades: list[Trade], step_ms: int = DAY_MS) -> Result:
    count = len(equity)
    return Result(
        interval_ms=step_ms,
        from_ms=START_MS,
        to_ms=START_MS + count * step_ms,
        cash=Decimal(100),
        end_equity=Decimal(repr(equity[-1])),
        trades=trades,
        open_at_end=[],
        close_ms=START_MS + (np.arange(count, dtype=np.int64) + 1) * step_ms,
        equity=np.array(equity),
        exposed=np.array([number % 2 == 0 for number in range(count)]),
    )


def test_sums_of_trades_are_exact() -> None:
    trades = [trade("A", "11.5", 1), trade("B", "-3.5", 2), trade("A", "-1.5", 3)]
    figures = measure(result([100.0, 110.0, 105.0, 102.0], trades))
    assert (figures.gross, figures.fees, figures.funding, figures.net) == (
        Decimal("6.5"),
        Decimal(3),
        Decimal("-1.5"),
        Decimal("2.0"),
    )
    assert figures.winners_pct == pytest.approx(100 / 3)
    assert figures.profit_factor == pytest.approx(10 / 8)
    assert (figures.average_win, figures.average_loss) == (Decimal(10), Decimal(-4))
    assert figures.exposure_pct == 50.0


def test_the_drawdown_is_from_the_highest_equity_so_far_the_cash_included() -> None:
    assert drawdowns(np.array([90.0, 120.0, 60.0, 130.0]), 100.0).tolist() == pytest.approx([-10.0, 0.0, -50.0, 0.0])
    figures = measure(result([90.0, 120.0, 60.0, 90.0, 130.0], []))
    assert figures.drawdown_pct == pytest.approx(-50.0)
    assert figures.drawdown_days == 2.0


@pytest.mark.parametrize(("step_ms", "bars_a_year"), [(DAY_MS, 365.25), (300_000, 365.25 * 288)])
def test_ratios_are_annualised_from_the_bar(step_ms: int, bars_a_year: float) -> None:
    figures = measure(result([101.0, 99.99, 101.9898], [], step_ms))
    returns = np.array([0.01, -0.01, 0.02])
    assert figures.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1) * bars_a_year**0.5, rel=1e-6)
    falling = (0.01**2 / 3) ** 0.5
    assert figures.sortino == pytest.approx(returns.mean() / falling * bars_a_year**0.5, rel=1e-6)


def test_an_account_that_never_moved_has_no_ratio() -> None:
    figures = measure(result([100.0] * 5, []))
    assert (figures.sharpe, figures.sortino, figures.profit_factor, figures.winners_pct) == (None, None, None, None)


def test_months_and_years_chain_to_the_whole_return() -> None:
    equity = [100.0 + number for number in range(400)]
    whole = result(equity, [trade("A", "5", 40), trade("A", "5", 370)])
    months, years = by_month(whole), by_year(whole)
    assert [period.name for period in years] == ["2024", "2025"]
    assert months[0].name == "2024-01"
    assert len(months) == 14
    for periods in (months, years):
        assert np.prod([1 + period.return_pct / 100 for period in periods]) == pytest.approx(equity[-1] / 100)
        assert sum(period.trades for period in periods) == 2
    assert months[1].trades == 1
    assert months[0].return_pct == pytest.approx(30.0)


def test_groups_come_best_first() -> None:
    trades = [trade("A", "1", 1), trade("B", "9", 2, Reason.TAKE_PROFIT), trade("C", "-9", 3, Reason.STOP_LOSS)]
    assert [group.name for group in by_symbol(trades)] == ["B", "A", "C"]
    assert [(group.name, group.net) for group in by_reason(trades)] == [
        ("take_profit", Decimal("7.5")),
        ("signal", Decimal("-0.5")),
        ("stop_loss", Decimal("-10.5")),
    ]
