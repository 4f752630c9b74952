"""LXAlgo's rules, one at a time, on bars whose indicators are given."""

from decimal import Decimal

import numpy as np
import pytest

from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.bars import Bars, BarView, Series
from alpha.strategy.base import BarContext, Portfolio
from alpha.strategy.intents import Enter, Exit, Intent, MoveStop, Notional, Trailing
from alpha.strategy.positions import OwnPosition
from alpha.strategy.risk_rules import Action, OpenProfitLimit, Until, Window
from strategies.lxalgo.parameters import LXAlgoParameters
from strategies.lxalgo.strategy import HOUR_MS, INTERVAL_MS, LXAlgo, LXAlgoState
from strategies.lxalgo.tests.markets import START_MS

SIGNAL = {
    "close": 100.0,
    "pump": 9.0,
    "rsi": 70.0,
    "volatility": 0.5,
    "spread": 2.0,
    "price_change": 6.0,
    "volume_change": 80.0,
    "score": 5.0,
}


def bar(symbol: str = "XUSDT", start_ms: int = START_MS, **figures: float) -> BarView:
    """One bar; what is not given is that of a signal."""
    given = SIGNAL | figures
    price = np.array([given.pop("close")])
    bars = Bars(symbol, INTERVAL_MS, np.array([start_ms]), price, price, price, price, np.array([1.0]))
    return Series.of(bars, {name: np.array([value]) for name, value in given.items()}).view(0)


def position(symbol: str = "XUSDT", *, high: str = "100", meaning: Reason = Reason.STOP_LOSS) -> OwnPosition:
    return OwnPosition(
        symbol=symbol,
        direction=Direction.LONG,
        size=Decimal(2),
        entry_price=Decimal(100),
        opened_ms=START_MS,
        opened_bar_ms=START_MS,
        stop_loss=Decimal(92),
        stop_meaning=meaning,
        highest_high=Decimal(high),
    )


def wishes(
    *bars: BarView,
    held: tuple[OwnPosition, ...] = (),
    state: LXAlgoState | None = None,
    **parameters: object,
) -> list[Intent]:
    strategy = LXAlgo(LXAlgoParameters.model_validate(parameters))
    start_ms = bars[0].start_ms
    moment = BarContext(
        start_ms,
        start_ms + INTERVAL_MS,
        {one.symbol: one for one in bars},
        Portfolio({one.symbol: one for one in held}),
    )
    return strategy.evaluate(moment, LXAlgoState() if state is None else state)


def test_a_pump_with_a_score_is_bought_with_all_its_levels() -> None:
    [wish] = wishes(bar())
    assert isinstance(wish, Enter)
    assert (wish.size, wish.stop, wish.take_profit) == (Notional(Decimal(200)), Decimal("0.08"), Decimal("0.30"))
    assert wish.trailing == Trailing(distance=Decimal("0.10"), activation=Decimal("0.20"))
    assert wish.why.startswith("rule 8")


def test_a_pump_of_exactly_the_least_counts_and_one_below_does_not() -> None:
    assert wishes(bar(pump=8.0))
    assert wishes(bar(pump=7.99)) == []


@pytest.mark.parametrize(
    ("figures", "rule"),
    [
        ({"score": 2.0, "spread": 3.99}, "rule 8"),
        ({"score": 1.0, "rsi": 55.1, "volatility": 0.0081}, "rule 6"),
        ({"score": 5.0, "spread": 4.0, "rsi": 55.1}, "rule 6"),
        ({"score": 1.0, "rsi": 55.0}, ""),
        ({"score": 1.0, "volatility": 0.008}, ""),
    ],
)
def test_rule_eight_comes_first_and_rule_six_is_the_other_way_in(figures: dict[str, float], rule: str) -> None:
    found = wishes(bar("XUSDT", START_MS, **figures))
    assert [wish.why.split(",")[0] for wish in found] == ([rule] if rule else [])


def test_a_symbol_is_bought_once_in_a_span_of_four_hours() -> None:
    state = LXAlgoState()
    assert wishes(bar(), state=state)
    assert wishes(bar(start_ms=START_MS + 3 * HOUR_MS), state=state) == []
    assert wishes(bar("YUSDT", start_ms=START_MS + 3 * HOUR_MS), state=state)
    assert wishes(bar(start_ms=START_MS + 4 * HOUR_MS), state=state)


def test_a_bar_that_closes_on_the_hour_belongs_to_the_new_span() -> None:
    state = LXAlgoState()
    assert wishes(bar(start_ms=START_MS + 4 * HOUR_MS - INTERVAL_MS), state=state)
    assert wishes(bar(start_ms=START_MS + 4 * HOUR_MS), state=state) == []


def test_the_strongest_pump_goes_first_where_there_is_little_room() -> None:
    state = LXAlgoState()
    found = wishes(
        bar("AUSDT", pump=9.0), bar("BUSDT", pump=12.0), bar("CUSDT", pump=10.0), state=state, max_positions=2
    )
    assert [wish.symbol for wish in found] == ["BUSDT", "CUSDT"]
    assert set(state.bought) == {"BUSDT", "CUSDT"}


def test_a_position_that_leaves_makes_room() -> None:
    late = START_MS + 72 * HOUR_MS
    found = wishes(bar(start_ms=late), bar("YUSDT", start_ms=late), held=(position(),), max_positions=1)
    assert [type(wish) for wish in found] == [Exit, Enter]


@pytest.mark.parametrize(
    ("hours", "close", "leaves"),
    [(8, 99.99, True), (8, 100.0, False), (7.9, 99.0, False), (72, 120.0, True), (71.9, 120.0, False)],
)
def test_losers_leave_after_eight_hours_and_all_after_seventy_two(hours: float, close: float, leaves: bool) -> None:
    start_ms = START_MS + int(hours * 12) * INTERVAL_MS - INTERVAL_MS
    found = wishes(bar(start_ms=start_ms, close=close, pump=0.0), held=(position(),))
    assert [wish.reason for wish in found if isinstance(wish, Exit)] == ([Reason.TIME_LIMIT] if leaves else [])


def test_a_high_of_eight_percent_moves_the_stop_to_the_entry_and_both_fees() -> None:
    [wish] = wishes(bar(pump=0.0, close=101.0), held=(position(high="108"),))
    assert isinstance(wish, MoveStop)
    assert (wish.price, wish.meaning) == (Decimal("100.11000"), Reason.BREAK_EVEN)
    assert wishes(bar(pump=0.0), held=(position(high="107.99"),)) == []


def test_the_stop_is_moved_to_break_even_once() -> None:
    assert wishes(bar(pump=0.0), held=(position(high="110", meaning=Reason.BREAK_EVEN),)) == []


def test_the_account_rules_are_the_documented_ones() -> None:
    rules = LXAlgo(LXAlgoParameters()).rules
    assert (rules.leverage, rules.max_positions, rules.adverse_first) == (Decimal(10), 20, "low-first")
    assert [(one.window, one.fraction, one.action, one.until) for one in rules.loss_limits] == [
        (Window.DAY, Decimal("0.02"), Action.CLOSE_ALL, Until.WINDOW_END),
        (Window.WEEK, Decimal("0.04"), Action.HALF_SIZE, Until.HALF_RECOVERED),
        (Window.WEEK, Decimal("0.06"), Action.CLOSE_ALL, Until.WINDOW_END),
    ]
    assert rules.open_profit == OpenProfitLimit(Decimal(400), Decimal("0.30"))
