"""What a lost bot left resting is cancelled once nothing of it can still arrive, and not before."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from alpha.alerts import Alerts
from alpha.bybit.rate_limiter import RateLimiter
from alpha.config.loader import load
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.model.order_link import order_link_id
from alpha.model.reason import Reason
from alpha.registry import Registry
from risk_guard.account import open_account
from risk_guard.left_orders import ARRIVING_S, LeftOrders
from risk_guard.settings import GuardSettings
from risk_guard.store import GuardStore
from tests.support.bot_harness import BotHarness
from tests.support.guard_harness import BOT
from tests.support.world import Trader

LINK = order_link_id("ss", Reason.ENTRY, account="x", symbol="BTCUSDT", bar_ms=1, intent="enter")
TARGET = order_link_id("ss", Reason.TAKE_PROFIT, account="x", symbol="BTCUSDT", bar_ms=1, intent="target")


@dataclass
class Left:
    """One account with orders at rest, and what looks after them."""

    stage: BotHarness
    orders: LeftOrders
    links: RedisClients

    async def resting(self) -> set[str]:
        """The ids of the orders at rest."""
        return {row["orderLinkId"] for row in await self.stage.orders()}

    async def lease(self, expired_s: float) -> None:
        """The bot's lease expired so many seconds ago."""
        await self.stage.sql(
            "INSERT INTO trading.bot_leases (account_id, bot_id, holder, token, acquired_at, expires_at) "
            "SELECT account_id, bot_id, 'gone', 7, now(), now() - make_interval(secs => $2) "
            "FROM trading.accounts WHERE bot_id = $1 "
            "ON CONFLICT (account_id) DO UPDATE SET expires_at = excluded.expires_at",
            BOT.bot,
            expired_s,
        )


@pytest.fixture
async def left(stage: BotHarness, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Left]:
    for name, value in BOT.environment().items():
        monkeypatch.setenv(name, value)
    variables = {name.lower(): value for name, value in stage.environment("alpha_guard").items()}
    settings = load(GuardSettings, env_file=None, **variables)
    links, store = RedisClients(settings), GuardStore(settings)
    account = open_account(settings, registry.find(BOT.bot), RateLimiter(None))
    await account.identify(store, observe=False)
    hand = Trader(stage.simulator.url, BOT)
    held = await hand.order("BTCUSDT", "Buy", "0.01", stopLoss="15000")
    assert held["retCode"] == 0, held
    resting = {"orderType": "Limit", "price": "20000", "stopLoss": "15000"}
    for link_id in (LINK, "by-hand"):
        sent = await hand.order("BTCUSDT", "Buy", "0.01", orderLinkId=link_id, **resting)
        assert sent["retCode"] == 0, sent
    target = await hand.order(
        "BTCUSDT", "Sell", "0.01", orderLinkId=TARGET, orderType="Limit", price="900000", reduceOnly=True
    )
    assert target["retCode"] == 0, target
    await hand.close()
    yield Left(stage, LeftOrders(account, store, Alerts(links.shared, "risk_guard")), links)
    await account.gateway.close()
    await store.close()
    await links.close()


async def test_entries_of_a_lost_bot_are_cancelled_and_nothing_else(left: Left) -> None:
    everything = {LINK, TARGET, "by-hand"}
    await left.orders.clear()
    assert await left.resting() == everything, "an account that no bot ever had"
    for expired_s in (-5.0, 0.5, ARRIVING_S - 2):
        await left.lease(expired_s)
        await left.orders.clear()
        assert await left.resting() == everything, "the bot may be there, and what it sent may still arrive"
    await left.lease(ARRIVING_S + 1)
    await left.orders.clear()
    assert await left.resting() == {TARGET, "by-hand"}
    assert left.orders.cancelled == 1
    (alert,) = [row for _, row in await left.links.shared.xrange(keys.ALERTS)]
    assert "1 resting entry" in alert["text"]
    await left.orders.clear()
    assert left.orders.cancelled == 1
