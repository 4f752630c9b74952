"""A snapshot that is not whole, or that the ledger does not explain, closes nothing on any account."""

from decimal import Decimal
from typing import Any

import pytest

from alpha.errors import Retry
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.live_state.read import read_wallets
from demo.redis import EmbeddedRedis
from risk_guard.app import BotGuard, GuardApp
from risk_guard.limits import Seen
from tests.support.world import BOTS

BOT = BOTS[0].bot
WHOLE = {"equity": "100000", "wallet_balance": "100000", "updated_at": "1735689600000"}


async def test_redis_emptied_between_two_reads_leaves_no_half_a_wallet(
    redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = RedisClients(redis_server.settings())
    database = links.database(0)
    read_one, whole = database.hgetall, {"USDT", "USDC"}

    async def then_emptied(name: str) -> Any:
        found = await read_one(name)
        await database.delete(*(keys.wallet(BOT, coin) for coin in whole))
        return found

    monkeypatch.setattr(database, "hgetall", then_emptied)
    try:
        for coin in whole:
            await database.hset(keys.wallet(BOT, coin), mapping=WHOLE)
        assert {wallet.coin for wallet in await read_wallets(database, BOT)} in (whole, set())
    finally:
        await links.close()


async def test_what_an_accounts_ledger_does_not_explain_is_not_counted_for_all_together(
    app: GuardApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    post: BotGuard = app._posts[BOT]
    good = Seen(1, Decimal(100_000), Decimal(100_000), [], 0)
    gone = Seen(2, Decimal(0), Decimal(0), [], 0)

    async def see(seen: Seen) -> None:
        if seen is gone:
            raise Retry("The ledger does not explain -100000 USDT of the balance yet.")

    monkeypatch.setattr(post.limits, "see", see)
    await app._judge(post, good)
    with pytest.raises(Retry):
        await app._judge(post, gone)
    assert post.seen is good
