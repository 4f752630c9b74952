"""The guard's findings, case by case: what raises an alert, and that each says what to do."""

from datetime import UTC, datetime, timedelta
from typing import cast
from unittest.mock import AsyncMock

import pytest

from alpha.alerts import Alerts, Level
from alpha.bybit.errors import KeyRefused
from alpha.bybit.models import ApiKeyInfo, SystemStatus
from alpha.live_state.client import TextRedis
from alpha.live_state.read import DataState, Heartbeat, LiveStatus
from alpha.model.order_link import guard_order_link_id, order_link_id
from alpha.model.reason import Reason
from alpha.registry import Bot, Registry
from risk_guard import findings
from risk_guard.findings import Finding

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE_MS = 60_000


@pytest.fixture
def bot(registry: Registry) -> Bot:
    return registry.find("shortseller_001")


def kinds(found: list[Finding]) -> list[str]:
    """What was found, by the first part of its key; each must say what to do."""
    assert all(finding.remedy for finding in found), found
    return [finding.key.split(":")[0] for finding in found]


def heartbeat(age_s: float) -> Heartbeat:
    return Heartbeat(NOW - timedelta(seconds=age_s), "running", "")


def status(state: DataState, age_s: float | None) -> LiveStatus:
    synced = None if age_s is None else NOW - timedelta(seconds=age_s)
    return LiveStatus(state, NOW, synced, NOW, NOW)


SYNCED = status(DataState.SYNCED, 5)


def test_a_bot_without_a_sign_of_life_is_told_unless_it_is_wished_stopped(bot: Bot) -> None:
    assert kinds(findings.bot_signs(bot, "running", heartbeat(59), SYNCED, NOW)) == []
    for silent in (None, heartbeat(61)):
        found = findings.bot_signs(bot, "running", silent, SYNCED, NOW)
        assert kinds(found) == ["heartbeat"]
        assert found[0].level is Level.CRITICAL
        assert kinds(findings.bot_signs(bot, "paused", silent, SYNCED, NOW)) == ["heartbeat"]
        assert kinds(findings.bot_signs(bot, "stopped", silent, SYNCED, NOW)) == []


@pytest.mark.parametrize(
    "seen", [None, status(DataState.STALE, 5), status(DataState.DOWN, 5)]
)  # fmt: skip
def test_live_data_that_nobody_vouches_for_is_told(bot: Bot, seen: LiveStatus | None) -> None:
    assert kinds(findings.bot_signs(bot, "stopped", None, seen, NOW)) == ["data"]


@pytest.mark.parametrize(("skew_ms", "found"), [(500, []), (501, ["clock"]), (-500, []), (-501, ["clock"])])
def test_a_clock_more_than_half_a_second_off_is_told(skew_ms: int, found: list[str]) -> None:
    assert kinds(findings.clock_skew(skew_ms)) == found


def key(ends: str = "2099-01-01T00:00:00Z", wallet: tuple[str, ...] = (), *, trades: bool = True) -> ApiKeyInfo:
    contract = ("Order", "Position") if trades else ()
    return ApiKeyInfo(
        "1", "k", False, True, {"ContractTrade": contract, "Wallet": wallet}, True, ("*",), ends, 90, "No VIP"
    )


def test_a_key_that_ends_soon_may_withdraw_or_may_not_trade_is_told(bot: Bot) -> None:
    def found(what: ApiKeyInfo, *, observe: bool = False) -> list[str]:
        return kinds(findings.key_state(bot, what, NOW, observe=observe))

    assert found(key()) == []
    assert found(key("2026-03-16T00:00:00Z")) == []
    assert found(key("2026-03-15T00:00:00Z")) == ["key_expiry"]
    assert found(key("1970-01-01T00:00:00Z")) == [], "Bybit's way of saying never"
    assert found(key(wallet=("Withdraw",))) == ["key_withdraw"]
    assert found(key(trades=False)) == ["key_trade"]
    assert found(key(trades=False), observe=True) == []
    ended = findings.key_state(bot, key("2026-02-01T00:00:00Z"), NOW, observe=False)
    assert ended[0].level is Level.CRITICAL
    assert kinds([findings.refused_key(bot, KeyRefused("API key is invalid.", 10003))]) == ["key_refused"]


def test_a_live_key_without_an_address_and_disconnect_protection_are_told(bot: Bot) -> None:
    assert kinds(findings.key_state(bot, key(), NOW, observe=False, live=True)) == ["key_unbound"]
    assert kinds(findings.key_state(bot, key(), NOW, observe=False, dcp=True)) == ["dcp"]
    (unbound,) = findings.key_state(bot, key(), NOW, observe=False, live=True)
    assert "90 days after it was made, and 7 days after a change of the password" in unbound.text


def link(tag: str, number: int) -> str:
    return order_link_id(tag, Reason.ENTRY, account="a", symbol="BTCUSDT", bar_ms=number, intent="enter")


def test_an_order_with_the_tag_of_another_bot_is_told(bot: Bot, registry: Registry) -> None:
    guards = guard_order_link_id(Reason.MANUAL, account="a", symbol="BTCUSDT", command_id="c", attempt=1)
    orders = [(text, "BTCUSDT") for text in (link(bot.tag, 1), guards, "my-own-id", "")]
    assert kinds(findings.strange_orders(bot, orders, registry)) == []
    found = findings.strange_orders(bot, [*orders, (link("lx", 1), "BTCUSDT")], registry)
    assert kinds(found) == ["tag"]
    assert "lxalgo_001" in found[0].text


def test_an_order_with_the_bots_tag_that_it_did_not_note_is_told(bot: Bot) -> None:
    orders = [(link(bot.tag, number), "BTCUSDT") for number in (1, 2)]
    assert kinds(findings.unsent_orders(bot, orders, frozenset({link(bot.tag, 1)}))) == ["unsent"]
    assert kinds(findings.unsent_orders(bot, orders, frozenset(text for text, _ in orders))) == []
    assert kinds(findings.unsent_orders(bot, [("by-hand", "BTCUSDT"), (link("lx", 1), "BTCUSDT")], frozenset())) == []


@pytest.mark.parametrize(
    ("before", "now", "found"), [(None, 9, []), (1, 2, []), (1, 3, []), (1, 4, ["lease"]), (4, None, [])]
)
def test_an_account_that_changes_hands_again_and_again_is_told(
    bot: Bot, before: int | None, now: int | None, found: list[str]
) -> None:
    assert kinds(findings.lease_changes(bot, before, now)) == found


@pytest.mark.parametrize(
    ("state", "begins_in_min", "lasts_min", "near"),
    [
        ("scheduled", 16, 30, False),
        ("scheduled", 15, 30, True),
        ("ongoing", -10, 30, True),
        ("ongoing", -31, 30, False),
        ("completed", -10, 30, False),
        ("canceled", 5, 30, False),
    ],
)
def test_entries_stop_a_quarter_of_an_hour_before_a_maintenance(
    state: str, begins_in_min: int, lasts_min: int, near: bool
) -> None:
    now_ms = 1_000 * MINUTE_MS
    begin_ms = now_ms + begins_in_min * MINUTE_MS
    row = SystemStatus("1", "Upgrade", state, begin_ms, begin_ms + lasts_min * MINUTE_MS)
    assert (findings.maintenance([row], now_ms) is row) == near
    kinds([findings.maintenance_finding(row), findings.maintenance_over(row)])


async def test_the_end_of_a_lasting_finding_is_told_and_what_only_happened_has_none() -> None:
    redis = AsyncMock()
    reporter = findings.FindingReporter(Alerts(cast(TextRedis, redis), "risk_guard"))

    def sent() -> list[tuple[str, str]]:
        found = [(call.args[1]["level"], call.args[1]["key"]) for call in redis.xadd.await_args_list]
        redis.xadd.reset_mock()
        return found

    clock = Finding("clock", Level.CRITICAL, "It is off.", "NTP.")
    lease = Finding("lease", Level.CRITICAL, "It was taken.", "Stop one.")
    await reporter.report("b", [clock, lease], 0)
    await reporter.settle("b", [clock, lease], 0)
    begun = [key for level, key in sent() if level == "over"]
    assert begun == [f"guard:{name}:b" for name in ("data", "heartbeat", "hindered", "key_refused")], (
        "of the guard before"
    )
    await reporter.report("b", [], 60_000)
    await reporter.settle("b", [], 60_000)
    assert sent() == [("over", "guard:clock:b")]
    await reporter.settle("b", [], 61_000)
    assert sent() == []
