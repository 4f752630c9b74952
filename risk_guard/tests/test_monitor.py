"""The monitor on a real exchange, PostgreSQL and Redis: findings become alerts, and halts where they must."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from alpha.alerts import Alerts
from alpha.bybit.rate_limiter import RateLimiter
from alpha.clock import Clock, wall_ms
from alpha.config.loader import load
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.model.account import Environment
from alpha.model.order_link import order_link_id
from alpha.model.reason import Reason
from alpha.registry import Registry
from risk_guard.account import GuardedAccount, open_account
from risk_guard.account_snapshot import SnapshotReader
from risk_guard.findings import FindingReporter
from risk_guard.monitor import FIRST_MINUTE_S, Monitor
from risk_guard.settings import GuardSettings
from risk_guard.store import GuardStore
from tests.support.alerts import raised_alerts
from tests.support.bot_harness import BotHarness, sim
from tests.support.guard_harness import BOT, Hands, halts

SOON = f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%d}"  # an expired key is refused


@dataclass
class Watched:
    """One account and its monitor, without the guard's process around it."""

    stage: BotHarness
    account: GuardedAccount
    lookout: Monitor
    links: RedisClients

    async def round(self) -> set[str]:
        """Run one round; returns the alerts raised, by the second part of the key. Each must say what to do."""
        await self.links.shared.delete(keys.ALERTS)
        await self.lookout.look()
        rows = await raised_alerts(self.links.shared)
        assert all(row["remedy"] for row in rows), rows
        return {row["key"].split(":")[1] for row in rows}

    async def key(self, options: str) -> None:
        """Change the rights and expiry of the bot's key."""
        await sim(self.stage, "POST", "/_sim/keys", account=f"{BOT.key}:{BOT.secret}::{options}")
        await self.account.read_key(observe=False)


@pytest.fixture
async def watched(stage: BotHarness, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    for name, value in BOT.environment().items():
        monkeypatch.setenv(name, value)
    variables = {name.lower(): value for name, value in stage.environment("alpha_guard").items()}
    settings = load(GuardSettings, env_file=None, **variables, guard_funding_extreme_pct="0.0000001")
    links, store = RedisClients(settings), GuardStore(settings)
    account = open_account(settings, registry.find(BOT.bot), RateLimiter(None))
    await account.identify(store, observe=False)
    # The first minute is over.
    began_s = [time.monotonic() - FIRST_MINUTE_S - 1]
    lookout = Monitor(
        account,
        settings,
        store,
        links,
        registry,
        FindingReporter(Alerts(links.shared, "risk_guard")),
        SnapshotReader(account, links),
        clock=Clock(monotonic_ms=lambda: int((began_s.pop() if began_s else time.monotonic()) * 1000)),
    )
    yield Watched(stage, account, lookout, links)
    await account.gateway.close()
    await store.close()
    await links.close()


async def test_what_is_wrong_with_a_bot_its_key_and_its_symbols_becomes_an_alert(watched: Watched) -> None:
    stage, hands = watched.stage, Hands(watched.stage)
    assert await watched.round() == {"heartbeat", "data"}, "neither the bot nor the listener runs here"
    await watched.key(f"ends={SOON},withdraw")
    assert await watched.round() == {"key_withdraw", "key_expiry"}, "what was told is not told again within ten minutes"
    await hands.open("BTCUSDT", "Buy", "0.05")
    assert await watched.round() == {"funding"}
    now_ms = (await sim(stage, "GET", "/_sim/state"))["now_ms"]
    await sim(stage, "POST", "/_sim/instrument", symbol="BTCUSDT", delivery_ms=now_ms + 86_400_000)
    watched.account.instruments |= await watched.account.gateway.instruments("BTCUSDT")
    assert await watched.round() == {"delivery"}
    price = f"{await hands.price('BTCUSDT') * 0.95:.1f}"
    foreign = order_link_id("lx", Reason.ENTRY, account="a", symbol="BTCUSDT", bar_ms=1, intent="enter")
    unsent = order_link_id("ss", Reason.ENTRY, account="a", symbol="BTCUSDT", bar_ms=1, intent="enter")
    noted = order_link_id("ss", Reason.ENTRY, account="a", symbol="BTCUSDT", bar_ms=2, intent="enter")
    await stage.sql(
        "INSERT INTO trading.strategy_state (account_id, name, bot_id, state, lease_token) VALUES ($1, 'runtime', $2, $3, 0)",
        watched.account.id,
        BOT.bot,
        {"sent": [noted]},
    )
    await hands.order("BTCUSDT", "Buy", "0.01", orderType="Limit", price=price, orderLinkId=noted)
    assert await watched.round() == set()
    await hands.order("BTCUSDT", "Buy", "0.01", orderType="Limit", price=price, orderLinkId=foreign)
    await hands.order("BTCUSDT", "Buy", "0.01", orderType="Limit", price=price, orderLinkId=unsent)
    assert await watched.round() == {"tag"}
    assert await watched.round() == {"unsent"}, "it had until the next look to note it"
    await stage.sql(
        "INSERT INTO trading.bot_leases VALUES ($1, $2, 'a', 7, now(), now(), 3)", watched.account.id, BOT.bot
    )
    assert await watched.round() == set()
    await stage.sql("UPDATE trading.bot_leases SET acquisitions = 7")
    assert await watched.round() == {"lease"}
    await hands.close()


async def test_entries_wait_before_a_maintenance_and_come_back_after_it(watched: Watched) -> None:
    stage = watched.stage
    await watched.round()
    now_ms = (await sim(stage, "GET", "/_sim/state"))["now_ms"]
    announced = {"id": "7", "title": "Upgrade", "begin_ms": now_ms + 20 * 60_000, "end_ms": now_ms + 50 * 60_000}
    await sim(stage, "POST", "/_sim/maintenance", **announced)
    assert await watched.round() == set()
    assert await halts(stage) == []
    await sim(stage, "POST", "/_sim/maintenance", **{**announced, "begin_ms": now_ms + 10 * 60_000})
    assert await watched.round() == {"maintenance"}
    assert await halts(stage) == [("no_entries", BOT.bot)]
    assert await watched.round() == set()
    assert len(await halts(stage)) == 1
    await sim(stage, "POST", "/_sim/maintenance", **announced, state="completed")
    assert await watched.round() == {"maintenance_over"}
    assert await halts(stage) == []


async def test_entries_wait_while_the_clock_is_off(watched: Watched) -> None:
    # The rule applies where the exchange runs on real time; a simulated market has its own.
    watched.account.environment = Environment.DEMO
    now_ms = (await sim(watched.stage, "GET", "/_sim/state"))["now_ms"]
    off_ms = wall_ms() - now_ms
    await watched.stage.fault(kind="skew", ms=off_ms)
    await watched.round()
    assert await halts(watched.stage) == []
    await watched.stage.fault(kind="skew", ms=2_000)
    assert await watched.round() == {"clock"}
    assert await halts(watched.stage) == [("no_entries", BOT.bot)]
    await watched.stage.fault_free()
    await watched.stage.fault(kind="skew", ms=off_ms)
    assert await watched.round() == set()
    assert await halts(watched.stage) == []


async def test_a_look_that_fails_keeps_no_other_from_its_work(watched: Watched) -> None:
    await watched.stage.fault(kind="answer", path="/v5/position/list", ret_code=10016, ret_msg="Server error.")
    await watched.key(f"ends={SOON}")
    now_ms = (await sim(watched.stage, "GET", "/_sim/state"))["now_ms"]
    await sim(watched.stage, "POST", "/_sim/maintenance", title="Now", begin_ms=now_ms, end_ms=now_ms + 10**7)
    assert await watched.round() >= {"key_expiry", "maintenance"}
    assert watched.lookout.faults


async def test_a_key_that_is_refused_is_told(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    await watched.round()
    monkeypatch.setattr("risk_guard.monitor.KEY_EVERY_S", 0.0)
    await watched.stage.fault(kind="revoke", key=BOT.key)
    assert "key_refused" in await watched.round()


async def test_an_observing_guard_halts_nothing_and_says_so(watched: Watched) -> None:
    watched.account.observe = True
    now_ms = (await sim(watched.stage, "GET", "/_sim/state"))["now_ms"]
    await sim(watched.stage, "POST", "/_sim/maintenance", title="Now", begin_ms=now_ms, end_ms=now_ms + 10**7)
    assert "maintenance" in await watched.round()
    rows = await raised_alerts(watched.links.shared)
    assert any("the guard only observes" in row["text"] for row in rows if ":maintenance" in row["key"])
    assert await halts(watched.stage) == []


async def test_a_listener_that_reads_another_account_keeps_entries_out_until_it_is_put_right(watched: Watched) -> None:
    bot_db, status = watched.links.of(watched.account.bot), keys.status(BOT.bot)
    fresh = {"state": "synced", "synced_at": str(wall_ms()), "account": "simulated:1"}
    await bot_db.hset(status, mapping=fresh)
    wallet = {"equity": "5", "wallet_balance": "5", "unrealised_pnl": "0", "updated_at": str(wall_ms())}
    await bot_db.hset(keys.wallet(BOT.bot), mapping=wallet)
    looks = SnapshotReader(watched.account, watched.links)
    assert "account" in await watched.round()
    assert await halts(watched.stage) == [("no_entries", BOT.bot)]
    assert await looks.live() is None, "limits are not judged on another account's money"
    await bot_db.hset(status, mapping={**fresh, "account": watched.account.text})
    assert "account" not in await watched.round()
    assert await halts(watched.stage) == []
    assert await looks.live() is not None
