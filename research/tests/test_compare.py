"""What a bot did beside the back-test of its days: pairs, costs, and why something is missing."""

from dataclasses import replace
from decimal import Decimal

import pytest

from research.compare import EXTRA, MISSED, SAME, Intent, LiveTrade, compare
from tests.support.toy_strategies import HOUR_MS, Crossing, CrossingParameters, backtest_of, market, random_bars

D = Decimal


@pytest.fixture
def tested() -> list:  # type: ignore[type-arg]
    return backtest_of(Crossing(CrossingParameters()), market(random_bars(11, 600))).trades[:4]


def as_live(trade, **changed) -> LiveTrade:  # type: ignore[no-untyped-def]
    return replace(
        LiveTrade(
            trade.symbol, "long", trade.size, trade.entry_ms + 800, trade.entry_price, trade.exit_ms, trade.exit_price,
            trade.reason.value, trade.net,
        ),
        **changed,
    )  # fmt: skip


def test_the_same_trades_are_the_same_without_costs(tested: list) -> None:  # type: ignore[type-arg]
    found = compare(tested, [as_live(trade) for trade in tested], [], HOUR_MS)
    assert found.count(SAME) == 4
    assert (found.mean_entry_cost_bps, found.mean_exit_cost_bps) == (0.0, 0.0)
    assert found.live_net == found.tested_net


def test_worse_prices_are_costs_above_zero(tested: list) -> None:  # type: ignore[type-arg]
    live = [
        as_live(one, entry_price=one.entry_price * D("1.001"), exit_price=one.exit_price / D("1.002")) for one in tested
    ]
    found = compare(tested, live, [], HOUR_MS)
    assert found.mean_entry_cost_bps == pytest.approx(10)
    assert found.mean_exit_cost_bps == pytest.approx(20)


def test_what_was_missed_and_what_was_not_expected_is_explained(tested: list) -> None:  # type: ignore[type-arg]
    live = [
        as_live(tested[0]),
        as_live(tested[0], symbol="HANDUSDT"),
        as_live(tested[3], entry_ms=tested[3].entry_ms + 9 * HOUR_MS),
    ]
    bars = [trade.entry_ms - HOUR_MS for trade in tested]
    intents = [
        Intent("XUSDT", bars[1], "enter", "Rejected", ""),
        Intent("XUSDT", tested[3].entry_ms + 8 * HOUR_MS, "enter", "Filled", "a signal"),
    ]
    found = compare(tested, live, intents, HOUR_MS, refused={"cooldown after the last exit": 3})
    assert [found.count(kind) for kind in (SAME, MISSED, EXTRA)] == [1, 3, 2]
    words = {(pair.kind, pair.symbol, pair.entry_ms): pair.words for pair in found.pairs}
    assert "Rejected" in words[(MISSED, "XUSDT", tested[1].entry_ms)]
    assert "sent nothing" in words[(MISSED, "XUSDT", tested[2].entry_ms)]
    assert "by hand" in words[(EXTRA, "HANDUSDT", live[1].entry_ms)]
    assert "a signal" in words[(EXTRA, "XUSDT", live[2].entry_ms)]
    assert "cooldown" in words[(EXTRA, "XUSDT", live[2].entry_ms)]
