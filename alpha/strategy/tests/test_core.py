from decimal import Decimal
from typing import Any

from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.core import DecisionCore, Plan, takes_entries
from alpha.strategy.intents import Enter, Exit, Intent, MoveStop, Notional, OfEquity, Trailing
from alpha.strategy.risk_rules import Action, LossLimit, OpenProfitLimit, Rules, Until, Window
from tests.support.strategy_samples import DAY, HOUR, MINUTES_5, MONDAY, Script, core_of, instrument, view

D = Decimal
BAR = MONDAY
CLOSE = BAR + MINUTES_5


def rules(**more: Any) -> Rules:
    return Rules(leverage=D(10), adverse_first="high-first", **more)


def short(symbol: str = "BTCUSDT", fraction: str = "0.7") -> Enter:
    return Enter(symbol, Direction.SHORT, OfEquity(D(fraction)), stop=D("0.01"), take_profit=D("0.03"))


def decide(script: Script, core: DecisionCore, *wanted: Intent, bar_ms: int = BAR) -> Plan:
    script.wanted = list(wanted)
    return core.close_bar(bar_ms, {symbol: view(symbol, bar_ms) for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT")})


def test_a_size_is_the_share_of_equity_at_the_bars_close_rounded_down_to_the_step() -> None:
    script = Script()
    core = core_of(script)
    plan = decide(script, core, short())
    views = {"BTCUSDT": view("BTCUSDT", BAR, close=30_000.1)}
    (order,) = core.size(plan, D("1000"), views)
    assert order.qty == D("0.023")
    assert order.stop_loss == D("30300.2")  # 1 % above 30000.1, up to the tick: away from the market


def test_an_entry_below_the_least_value_is_skipped_and_named() -> None:
    script = Script()
    core = core_of(script)
    plan = decide(script, core, Enter("BTCUSDT", Direction.LONG, Notional(D(4)), stop=D("0.1")))
    assert core.size(plan, D(1000), {"BTCUSDT": view("BTCUSDT", BAR)}) == []
    assert [skipped.symbol for skipped in plan.skipped] == ["BTCUSDT"]


def test_a_symbol_whose_end_is_announced_takes_no_entry() -> None:
    script = Script()
    core = core_of(script, BTCUSDT=instrument(delivery_ms=BAR + DAY))
    plan = decide(script, core, short())
    assert core.size(plan, D(1000), {"BTCUSDT": view("BTCUSDT", BAR)}) == []
    assert plan.skipped


def test_only_an_ordinary_usdt_perpetual_that_trades_takes_entries() -> None:
    assert takes_entries(instrument())
    for change in (
        {"symbol_type": "innovation"},
        {"symbol_type": "stock"},
        {"settle_coin": "USDC"},
        {"contract_type": "LinearFutures"},
        {"status": "PreLaunch"},
    ):
        assert not takes_entries(instrument(**change)), change


def test_the_last_entry_is_made_smaller_when_it_would_exceed_the_exposure_limit() -> None:
    script = Script(rules(max_exposure=D("2.1")))
    core = core_of(script)
    plan = decide(script, core, short("BTCUSDT", "0.9"), short("ETHUSDT", "0.9"), short("SOLUSDT", "0.9"))
    views = {symbol: view(symbol, BAR) for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT")}
    assert [order.qty for order in core.size(plan, D(1000), views)] == [D(9), D(9), D(3)]


def opened(core: DecisionCore, script: Script, enter: Enter, average: str, time_ms: int = CLOSE) -> None:
    plan = decide(script, core, enter)
    (order,) = core.size(plan, D(10_000), {enter.symbol: view(enter.symbol, BAR)})
    core.opened(order, D(average), order.qty, time_ms)


def test_levels_come_from_the_actual_average_price_not_from_the_close() -> None:
    script = Script()
    core = core_of(script)
    enter = Enter("BTCUSDT", Direction.SHORT, OfEquity(D("0.7")), D("0.01"), D("0.03"), Trailing(D("0.01"), D("0.02")))
    opened(core, script, enter, "101.0")
    position = core.positions["BTCUSDT"]
    assert position.stop_loss == D("102.1")  # 102.01 up
    assert position.take_profit == D("97.9")  # 97.97 down
    assert position.trailing_distance == D("1.1")  # 1.01 up
    assert position.active_price == D("98.9")  # 98.98 down


def test_holding_time_counts_from_the_start_of_the_bar_of_the_fill() -> None:
    script = Script()
    core = core_of(script)
    opened(core, script, short(), "100", time_ms=CLOSE + 412)
    assert core.positions["BTCUSDT"].held_ms(CLOSE + 24 * HOUR) == 24 * HOUR


def test_no_second_entry_while_a_position_is_open() -> None:
    script = Script()
    core = core_of(script)
    opened(core, script, short(), "100")
    plan = decide(script, core, short(), bar_ms=CLOSE)
    assert plan.entries == []
    assert plan.skipped[0].why == "a position is open"


def test_the_cooldown_of_an_own_exit_runs_from_the_close_of_the_bar_that_decided() -> None:
    script = Script(rules(cooldown_ms=HOUR))
    core = core_of(script)
    opened(core, script, short(), "100")
    core.closed("BTCUSDT", CLOSE + 300, decided_ms=CLOSE)
    before = CLOSE + HOUR - 2 * MINUTES_5
    assert decide(script, core, short(), bar_ms=before).entries == []
    assert len(decide(script, core, short(), bar_ms=before + MINUTES_5).entries) == 1


def test_the_cooldown_of_an_exit_on_the_exchange_runs_from_the_end_of_its_bar() -> None:
    script = Script(rules(cooldown_ms=HOUR))
    core = core_of(script)
    opened(core, script, short(), "100")
    core.closed("BTCUSDT", CLOSE + 1)
    before = CLOSE + HOUR - MINUTES_5
    assert decide(script, core, short(), bar_ms=before).entries == []
    assert len(decide(script, core, short(), bar_ms=before + MINUTES_5).entries) == 1


def test_entries_of_a_symbol_are_counted_by_utc_day() -> None:
    script = Script(rules(entries_per_day=1))
    core = core_of(script)
    opened(core, script, short(), "100")
    core.closed("BTCUSDT", CLOSE + 1)
    assert decide(script, core, short(), bar_ms=BAR + HOUR).entries == []
    assert len(decide(script, core, short("ETHUSDT"), bar_ms=BAR + HOUR).entries) == 1
    assert len(decide(script, core, short(), bar_ms=BAR + DAY).entries) == 1


def test_a_position_that_is_being_closed_frees_its_place_for_the_best_entry() -> None:
    script = Script(rules(max_positions=1))
    core = core_of(script)
    opened(core, script, short(), "100")
    plan = decide(script, core, Exit("BTCUSDT", Reason.SIGNAL), short("ETHUSDT"), short("SOLUSDT"), bar_ms=CLOSE)
    assert [close.symbol for close in plan.closes] == ["BTCUSDT"]
    assert [enter.symbol for enter in plan.entries] == ["ETHUSDT"]
    assert [skipped.symbol for skipped in plan.skipped] == ["SOLUSDT"]


def test_a_stop_moves_only_towards_the_market() -> None:
    script = Script()
    core = core_of(script)
    opened(core, script, short(), "100")
    looser = MoveStop("BTCUSDT", D("101.5"), Reason.TRAILING_STOP)
    tighter = MoveStop("BTCUSDT", D("100.44"), Reason.TRAILING_STOP)
    assert decide(script, core, looser, bar_ms=CLOSE).stops == []
    (stop,) = decide(script, core, tighter, bar_ms=CLOSE).stops
    assert stop.price == D("100.5")  # rounded up: away from the market of a short


def test_the_highest_high_counts_the_bar_of_the_entry_and_no_earlier_one() -> None:
    script = Script()
    core = core_of(script)
    opened(core, script, short(), "100")
    core.close_bar(BAR, {"BTCUSDT": view("BTCUSDT", BAR, 100.0, high=150.0)})
    assert core.positions["BTCUSDT"].highest_high is None
    core.close_bar(CLOSE, {"BTCUSDT": view("BTCUSDT", CLOSE, 100.0, high=104.3, low=99.7)})
    assert core.positions["BTCUSDT"].highest_high == D("104.3")
    assert core.positions["BTCUSDT"].lowest_low == D("99.7")


def test_an_order_is_too_late_once_the_market_has_reached_its_stop() -> None:
    script = Script()
    core = core_of(script)
    plan = decide(script, core, short())
    (order,) = core.size(plan, D(10_000), {"BTCUSDT": view("BTCUSDT", BAR)})
    assert order.too_late(D("101.0"))
    assert not order.too_late(D("100.9"))


def test_a_limit_that_closes_all_closes_at_every_look_until_nothing_is_held() -> None:
    limit = LossLimit(Window.DAY, D("0.02"), Action.CLOSE_ALL, Until.WINDOW_END)
    script = Script(rules(loss_limits=(limit,)))
    core = core_of(script)
    core.see(BAR, D(1000), D(0))
    opened(core, script, short(), "100")
    closes, breaches = core.see(CLOSE, D(980), D(-20))
    assert [close.reason for close in closes] == [Reason.RISK_LIMIT]
    assert len(breaches) == 1
    closes, breaches = core.see(CLOSE + 1, D(990), D(-10))
    assert len(closes) == 1
    assert breaches == []
    core.closed("BTCUSDT", CLOSE + 2)
    assert core.see(CLOSE + 3, D(990), D(0)) == ([], [])
    assert decide(script, core, short("ETHUSDT"), bar_ms=CLOSE).entries == []


def test_profit_that_was_taken_is_no_profit_given_back() -> None:
    script = Script(rules(open_profit=OpenProfitLimit(D(100), D("0.3"))))
    core = core_of(script)
    opened(core, script, short(), "100")
    core.see(CLOSE, D(1500), D(500))
    core.closed("BTCUSDT", CLOSE + 1)
    assert core.see(CLOSE + 2, D(1500), D(0)) == ([], [])
