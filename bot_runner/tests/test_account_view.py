"""A bot whose live state cannot be trusted looks over REST, and leaves the listener the room to make it trustworthy again."""

import pytest

from alpha.bybit.client import Gateway
from alpha.bybit.rate_limiter import Priority
from alpha.bybit.request_plan import bot_beats
from alpha.clock import Clock
from alpha.live_state.connect import RedisClients
from alpha.registry import Registry
from bot_runner.account import AccountView
from tests.support import bybit_samples
from tests.support.faulty_exchange import FaultyExchange, faulty_exchange, gateway_to, ok

PACE_MS = 10_000


def scripted(exchange: FaultyExchange, ranks: list[Priority], monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """A gateway that notes the rank of each read."""
    exchange.script("position/list", ok({"list": [], "nextPageCursor": ""}))
    exchange.script("account/wallet-balance", ok({"list": [bybit_samples.WALLET]}))
    gateway = gateway_to(exchange)
    positions, wallet = gateway.positions, gateway.wallet

    async def noted_positions(*, rank: Priority) -> object:
        ranks.append(rank)
        return await positions(rank=rank)

    async def noted_wallet(*, rank: Priority) -> object:
        ranks.append(rank)
        return await wallet(rank=rank)

    monkeypatch.setattr(gateway, "positions", noted_positions)
    monkeypatch.setattr(gateway, "wallet", noted_wallet)
    return gateway


def due(view: AccountView) -> bool:
    """Whether a routine look may be taken now."""
    return view.due


async def test_routine_looks_have_the_listeners_rank_and_a_pace(
    redis_links: RedisClients, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot, ranks = registry.bots[0], list[Priority]()
    async with faulty_exchange() as exchange:
        gateway = scripted(exchange, ranks, monkeypatch)
        clock = Clock(monotonic_ms=exchange.clock.now_ms)
        view = AccountView(gateway, redis_links.of(bot), bot.id, "demo/1", pace_ms=PACE_MS, clock=clock)
        assert due(view)
        look = await view.snapshot()
        assert not look.live
        assert ranks == [Priority.RECONCILE] * 2, (
            "with a higher rank the looks of many bots starve the listener's audits"
        )
        exchange.clock.ms += PACE_MS - 1
        assert not due(view)
        assert await view.glance() is look, "a glance asks nobody again"
        exchange.clock.ms += 1
        assert due(view)
        assert await view.glance() is look, "nor does it use up the look that is due"
        assert due(view)
        assert not await view.live()
        assert len(ranks) == 2, "whether live state can be trusted is a question to Redis alone"
        await view.snapshot_from_exchange()
        assert ranks[2:] == [Priority.EXIT] * 2, "what an exit depends on is read first"
        await gateway.close()


@pytest.mark.parametrize("accounts", [1, 3, 60, 150, 300])
def test_what_bots_read_of_their_own_accord_keeps_to_its_part(accounts: int) -> None:
    beats = bot_beats(accounts)
    assert accounts * 2 / beats.look_s == pytest.approx(12.0), "a fifth of 60 a second"
    assert accounts * 2 / beats.orders_s <= 6.0 + 1e-9
    assert accounts / beats.time_s <= 3.0 + 1e-9
    assert beats.orders_s >= 10.0
    assert beats.time_s >= 5.0
