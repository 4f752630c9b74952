import json
from decimal import Decimal

import pytest

from alpha.errors import Misconfigured
from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.base import StrategyState
from alpha.strategy.core import CoreState
from alpha.strategy.risk_limits import Block, LimitState
from alpha.strategy.risk_rules import Action, Until, Window
from bot_runner.state import SENT_KEPT, BotState, PendingEntry, PendingExit, PendingStop, RuntimeState, read_state
from tests.support.strategy_samples import position


class Counter(StrategyState):
    seen: int = 0


def full_state() -> BotState:
    entry = PendingEntry(
        link_id="ss-en-x",
        symbol="BTCUSDT",
        direction=Direction.SHORT,
        qty=Decimal("0.10"),
        price=Decimal("60000.1"),
        stop_loss=Decimal("60600.2"),
        stop=Decimal("0.01"),
        take_profit=None,
        trailing_distance=Decimal("0.01"),
        trailing_activation=Decimal("0.02"),
        bar_ms=1,
        close_ms=2,
        why="a reason",
    )
    block = Block(Action.NO_ENTRIES, Until.WINDOW_END, 5, 6, Decimal(1000), Decimal("949.5"))
    limits = LimitState({Window.DAY: 5}, {Window.DAY: Decimal(1000)}, {"day_no_entries": block}, Decimal("3.5"), True)
    held = {"ETHUSDT": position("ETHUSDT", Direction.LONG, "3000.05", 77)}
    return BotState(
        Counter(4),
        CoreState(9, held, {"BTCUSDT": 3}, 0, {"BTCUSDT": 2}, limits),
        RuntimeState(
            "a pause",
            {"BTCUSDT": entry},
            {"ETHUSDT": PendingExit(Reason.TIME_LIMIT, 1, None, "x", 2, True)},
            {"ETHUSDT": PendingStop(1, 2, "x")},
            [1],
            False,
            3,
            ["a"],
        ),
    )


def test_what_is_written_is_read_back_exactly() -> None:
    state = full_state()
    rows = json.loads(json.dumps(state.rows()))
    assert read_state(rows, Counter) == state


def test_amounts_are_written_as_texts() -> None:
    rows = json.loads(json.dumps(full_state().rows()))
    assert rows["positions"]["ETHUSDT"]["entry_price"] == "3000.05"
    assert rows["runtime"]["entries"]["BTCUSDT"]["qty"] == "0.10"
    assert rows["limits"]["references"] == {"day": "1000"}


def test_rows_of_an_older_release_get_defaults_for_what_is_new() -> None:
    assert read_state({"runtime": {"paused": "x"}}, Counter).runtime == RuntimeState(paused="x")


def test_a_damaged_row_is_named() -> None:
    with pytest.raises(Misconfigured, match="'positions'"):
        read_state({"positions": {"BTCUSDT": {"size": "much"}}}, Counter)


def test_only_the_newest_order_ids_are_remembered_and_each_once() -> None:
    runtime = RuntimeState()
    for number in range(SENT_KEPT + 5):
        runtime.note_sent(str(number))
        runtime.note_sent(str(number))
    assert runtime.sent == [str(number) for number in range(5, SENT_KEPT + 5)]
