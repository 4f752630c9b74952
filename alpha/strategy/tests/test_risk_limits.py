from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from alpha.strategy.risk_limits import LimitState, RiskLimits, window_start
from alpha.strategy.risk_rules import Action, LossLimit, OpenProfitLimit, Until, Window
from tests.support.strategy_samples import DAY, HOUR, MONDAY

D = Decimal
DAY_LOSS = LossLimit(Window.DAY, D("0.05"), Action.NO_ENTRIES, Until.WINDOW_END)
DRAWDOWN = LossLimit(Window.DRAWDOWN, D("0.20"), Action.NO_ENTRIES, Until.RESUMED)
WEEK_HALF = LossLimit(Window.WEEK, D("0.04"), Action.HALF_SIZE, Until.HALF_RECOVERED)


def book(*limits: LossLimit, profit: OpenProfitLimit | None = None) -> RiskLimits:
    return RiskLimits(limits, profit)


def closing(limits: RiskLimits) -> bool:
    return limits.closes_all


def test_a_day_loss_bars_entries_until_the_next_utc_day() -> None:
    limits = book(DAY_LOSS)
    limits.see(MONDAY + HOUR, D(1000), D(0))
    assert limits.see(MONDAY + 2 * HOUR, D("950.01"), D(0)) == []
    (breach,) = limits.see(MONDAY + 3 * HOUR, D(950), D(0))
    assert breach.action is Action.NO_ENTRIES
    limits.see(MONDAY + 4 * HOUR, D(1000), D(0))
    assert limits.blocks_entries == "day_no_entries"
    limits.see(MONDAY + DAY, D(940), D(0))
    assert limits.blocks_entries is None


def test_a_drawdown_waits_for_the_operator_and_is_measured_anew_after_him() -> None:
    limits = book(DRAWDOWN)
    for day, equity in enumerate((1000, 1200, 1100, 960)):
        limits.see(MONDAY + day * DAY, D(equity), D(0))
    assert limits.blocks_entries == "drawdown_no_entries"
    limits.see(MONDAY + 9 * DAY, D(1300), D(0))
    assert limits.blocks_entries == "drawdown_no_entries"
    assert limits.resume() == ["drawdown_no_entries"]
    assert limits.see(MONDAY + 9 * DAY + 1, D(961), D(0)) == []
    assert limits.blocks_entries is None


def test_half_size_ends_once_half_of_the_worst_loss_is_recovered() -> None:
    limits = book(WEEK_HALF)
    limits.see(MONDAY, D(1000), D(0))
    limits.see(MONDAY + HOUR, D(960), D(0))
    assert limits.scale == D("0.5")
    limits.see(MONDAY + 2 * HOUR, D(950), D(0))
    limits.see(MONDAY + 3 * HOUR, D("974.99"), D(0))
    assert limits.scale == D("0.5")
    limits.see(MONDAY + 4 * HOUR, D(975), D(0))
    assert limits.scale == D(1)
    assert limits.blocks_entries is None


def test_a_transfer_is_neither_profit_nor_loss() -> None:
    limits = book(DAY_LOSS, DRAWDOWN)
    limits.see(MONDAY, D(1000), D(0))
    limits.transfer(D(-400))
    assert limits.see(MONDAY + 1, D(600), D(0)) == []
    limits.transfer(D(1400))
    assert limits.see(MONDAY + 2, D(2000), D(0)) == []
    assert len(limits.see(MONDAY + 3, D(1900), D(0))) == 1


def test_open_profit_given_back_closes_all_once_it_was_armed() -> None:
    limits = book(profit=OpenProfitLimit(arm_usdt=D(400), give_back=D("0.3")))
    assert limits.see(MONDAY, D(10_000), D(400)) == []
    assert limits.see(MONDAY + 1, D(10_000), D(100)) == []
    limits.see(MONDAY + 2, D(10_000), D(500))
    limits.see(MONDAY + 3, D(10_000), D(600))
    assert not closing(limits)
    (breach,) = limits.see(MONDAY + 4, D(10_000), D(420))
    assert breach.action is Action.CLOSE_ALL
    assert closing(limits)
    limits.flat()
    assert not closing(limits)
    assert limits.see(MONDAY + 5, D(10_000), D(0)) == []


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    sunday = MONDAY + 6 * DAY + 23 * HOUR
    assert window_start(Window.WEEK, sunday) == MONDAY
    assert window_start(Window.WEEK, sunday + HOUR) == MONDAY + 7 * DAY
    new_year = MONDAY + 2 * DAY
    assert window_start(Window.MONTH, new_year + 5 * DAY) == new_year


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(700, 1300)), min_size=1, max_size=60))
def test_what_is_remembered_goes_on_after_a_restart_as_if_there_had_been_none(moves: list[tuple[int, int]]) -> None:
    every = (DAY_LOSS, DRAWDOWN, WEEK_HALF)
    whole, now_ms = book(*every), MONDAY
    restarted = book(*every)
    for hours, equity in moves:
        now_ms += hours * HOUR
        saved = msgspec.json.encode(restarted.state)
        restarted = RiskLimits(every, None, msgspec.json.decode(saved, type=LimitState))
        assert restarted.see(now_ms, D(equity), D(0)) == whole.see(now_ms, D(equity), D(0))
        assert (restarted.blocks_entries, restarted.scale) == (whole.blocks_entries, whole.scale)
