"""The decision core's resting orders: admission, partial fills, targets, what the exchange must be told."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.core import DecisionCore, Plan
from alpha.strategy.intents import CancelEntry, Enter, Exit, Intent, Limit, MoveTarget, Notional, Target, Trigger
from alpha.strategy.resting import Phase, RestingOrder, Role
from alpha.strategy.risk_rules import Action, LossLimit, Rules, Until, Window
from tests.support.strategy_samples import MINUTES_5, MONDAY, Script, core_of, view

D = Decimal
BTC = "BTCUSDT"


def dip(price: str = "29000", **more: Any) -> Enter:
    return Enter(BTC, Direction.LONG, Notional(D(2_900)), D("0.02"), at=Limit(D(price)), **more)


def started(**rules: Any) -> tuple[Script, DecisionCore]:
    script = Script(Rules(leverage=D(10), adverse_first="low-first", **rules))
    core = core_of(script)
    return script, core


def decide(script: Script, core: DecisionCore, *wanted: Intent, bar: int = 0, close: float = 30_000.0) -> Plan:
    script.wanted = list(wanted)
    bar_ms = MONDAY + bar * MINUTES_5
    views = {BTC: view(BTC, bar_ms, close=close)}
    plan = core.close_bar(bar_ms, views)
    core.size(plan, D(100_000), views)
    return plan


def sent(core: DecisionCore, plan: Plan) -> RestingOrder:
    """The plan's one resting entry, sent and accepted."""
    (order,) = plan.resting
    core.rest(order)
    order.phase = Phase.OPEN
    return order


def follow(core: DecisionCore) -> list[RestingOrder]:
    """Carry out upkeep as an exchange that accepts everything; returns the targets that are there then."""
    while work := core.upkeep():
        for order in work.cancels:
            core.order_ended(order.ref)
        for position in work.protects:
            position.levels_due = False
        for order in (*work.sends, *work.amends):
            core.rest(order)
            order.phase = Phase.OPEN
    return core.targets_of(BTC)


def test_a_resting_entry_is_sized_at_its_price_and_carries_the_stop_from_there() -> None:
    script, core = started()
    (order,) = decide(script, core, dip()).resting
    assert (order.qty, order.price, order.stop_loss) == (D("0.100"), D("29000.0"), D("28420.0"))
    assert order.expires_ms == MONDAY + 2 * MINUTES_5


def test_it_blocks_a_second_one_and_its_slot_until_it_leaves() -> None:
    script, core = started(max_positions=1)
    sent(core, decide(script, core, dip(valid_bars=2)))
    assert [skip.counted for skip in decide(script, core, dip("28000"), bar=1).skipped] == ["an entry waits already"]
    decide(script, core, bar=2)
    follow(core)
    assert core.resting == {}
    assert len(decide(script, core, dip("28000"), bar=3).resting) == 1


def test_partial_fills_average_and_their_targets_grow_with_them() -> None:
    script, core = started()
    targets = (Target(D("0.01"), D("0.5"), "near"), Target(D("0.02"), D("0.5"), "far"))
    order = sent(core, decide(script, core, dip(targets=targets)))
    core.entry_filled(order.ref, D("0.03"), D(29_000), MONDAY + MINUTES_5)
    assert [target.qty for target in follow(core)] == [D("0.015"), D("0.015")]
    core.entry_filled(order.ref, D("0.05"), D(28_990), MONDAY + MINUTES_5)
    position = core.positions[BTC]
    assert position.size == D("0.08")
    assert position.entry_price == (D("0.03") * 29_000 + D("0.05") * 28_990) / D("0.08")
    assert position.adds == 0
    assert [target.qty for target in follow(core)] == [D("0.040"), D("0.040")]
    core.entry_filled(order.ref, D("0.02"), D(29_000), MONDAY + MINUTES_5)
    assert [target.qty for target in follow(core)] == [D("0.050"), D("0.050")]
    assert order.ref not in core.resting


def test_targets_never_exceed_what_a_partial_exit_leaves() -> None:
    script, core = started()
    targets = (Target(D("0.01"), D("0.5"), "near"), Target(D("0.02"), D("0.5"), "far"))
    order = sent(core, decide(script, core, dip(targets=targets)))
    core.entry_filled(order.ref, D("0.1"), D(29_000), MONDAY + MINUTES_5)
    follow(core)
    plan = decide(script, core, Exit(BTC, Reason.SIGNAL, fraction=D("0.7")), bar=2)
    (close,) = plan.closes
    assert (close.size, close.part) == (D("0.070"), True)
    core.reduced(BTC, close.size)
    assert [(target.tag, target.qty) for target in follow(core)] == [("near", D("0.030"))]


def test_the_last_target_closes_the_position_and_what_rests_leaves_with_it() -> None:
    script, core = started(max_adds=2)
    order = sent(core, decide(script, core, dip(targets=(Target(D("0.01"), D(1)),))))
    core.entry_filled(order.ref, D("0.1"), D(29_000), MONDAY + MINUTES_5)
    follow(core)
    sent(core, decide(script, core, dip("28500"), bar=1))
    (target,) = core.targets_of(BTC)
    assert core.target_filled(target.ref, D("0.1"), D(29_290), MONDAY + 2 * MINUTES_5)
    assert core.positions == {}
    follow(core)
    assert core.resting == {}


def test_an_addition_never_loosens_the_stop_and_counts() -> None:
    script, core = started(max_adds=1)
    order = sent(core, decide(script, core, dip()))
    core.entry_filled(order.ref, D("0.1"), D(29_000), MONDAY + MINUTES_5)
    core.positions[BTC].stop_loss = D(28_900)
    refused = decide(script, core, dip("28500"), bar=1)
    assert [skip.counted for skip in refused.skipped] == ["the stop in force lies beyond its price"]
    added = sent(core, decide(script, core, dip("28950"), bar=2))
    assert added.stop_loss == D(28_900)
    core.entry_filled(added.ref, D("0.1"), D(28_950), MONDAY + 3 * MINUTES_5)
    assert (core.positions[BTC].stop_loss, core.positions[BTC].adds) == (D(28_900), 1)
    third = decide(script, core, dip("28950"), bar=4)
    assert [skip.counted for skip in third.skipped] == ["1 additions are the most"]


def test_an_exit_and_an_entry_in_the_other_direction_reverse() -> None:
    script, core = started()
    order = sent(core, decide(script, core, dip()))
    core.entry_filled(order.ref, D("0.1"), D(29_000), MONDAY + MINUTES_5)
    short = Enter(BTC, Direction.SHORT, Notional(D(2_900)), D("0.02"))
    assert not decide(script, core, short, bar=1).entries
    plan = decide(script, core, Exit(BTC, Reason.SIGNAL), short, bar=2)
    assert (len(plan.closes), plan.entries) == (1, [short])
    again = decide(script, core, Exit(BTC, Reason.SIGNAL), replace(short, direction=Direction.LONG), bar=3)
    assert not again.entries


def test_a_cancellation_names_all_or_those_of_a_tag() -> None:
    script, core = started(max_adds=3)
    plan = decide(script, core, dip(tag="a"), dip("28000", tag="b"))
    for order in plan.resting:
        core.rest(order)
        order.phase = Phase.OPEN
    decide(script, core, CancelEntry(BTC, "a"), bar=0)
    follow(core)
    assert [order.tag for order in core.resting.values()] == ["b"]
    decide(script, core, CancelEntry(BTC), bar=0)
    follow(core)
    assert core.resting == {}


def test_a_loss_limit_takes_resting_entries_away_and_leaves_targets() -> None:
    limit = LossLimit(Window.DAY, D("0.01"), Action.NO_ENTRIES, Until.WINDOW_END)
    script, core = started(max_adds=1, loss_limits=(limit,))
    core.see(MONDAY, D(100_000), D(0))
    order = sent(core, decide(script, core, dip(targets=(Target(D("0.01"), D(1)),))))
    core.entry_filled(order.ref, D("0.1"), D(29_000), MONDAY + MINUTES_5)
    follow(core)
    sent(core, decide(script, core, dip("28900"), bar=1))
    core.see(MONDAY + MINUTES_5, D(98_000), D(0))
    follow(core)
    assert [left.role for left in core.resting.values()] == [Role.TARGET]


def test_targets_and_the_take_profit_move() -> None:
    script, core = started()
    order = sent(core, decide(script, core, dip(take_profit=D("0.05"), targets=(Target(D("0.01"), D("0.5"), "near"),))))
    core.entry_filled(order.ref, D("0.1"), D(29_000), MONDAY + MINUTES_5)
    follow(core)
    decide(script, core, MoveTarget(BTC, D(29_500), "near"), MoveTarget(BTC, D(30_500)), bar=1)
    work = core.upkeep()
    assert [target.price for target in work.amends] == [D(29_500)]
    assert [position.take_profit for position in work.protects] == [D("30500.0")]


@pytest.mark.parametrize(
    ("enter", "why"),
    [
        (dip(valid_bars=0), "it is valid for less than one bar"),
        (
            dip(targets=(Target(D("0.01"), D("0.6")), Target(D("0.02"), D("0.6")))),
            "its targets close more than it opens",
        ),
        (dip(targets=(Target(D(0), D("0.6")),)), "a target's distance or share is out of range"),
        (replace(dip(), at=Trigger(D(0))), "its price is not above zero"),
        (replace(dip(), at=Trigger(D("30000"))), "its price is the market's own"),
        (replace(dip(), stop=D(0)), "its stop is not above zero"),
        (replace(dip(), size=Notional(D("0.123456789"))), "it is below the least order"),
    ],
)
def test_what_makes_no_sense_is_refused_and_counted_by_its_kind(enter: Enter, why: str) -> None:
    script, core = started()
    plan = decide(script, core, enter)
    assert not plan.resting
    assert [skip.counted for skip in plan.skipped] == [why]
