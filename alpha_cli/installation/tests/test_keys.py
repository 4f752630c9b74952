from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from alpha.bybit.errors import KeyRefused
from alpha.bybit.session import Credentials
from alpha.config.exchange import ExchangeSettings
from alpha.config.keys import BotKeys
from alpha.config.loader import load
from alpha.errors import Rejected
from alpha.registry import Registry
from alpha_cli.installation.keys import check_new_key
from tests.support.world import Simulator

ACCOUNTS = (
    "old:secret-old:1000",
    "new:secret-new:0:of=old",
    "other:secret-other:1000",
    "greedy:secret-greedy:0:of=old,withdraw",
    "reads:secret-reads:0:of=old,read-only",
)


@pytest.fixture
async def exchange(tmp_path: Path) -> AsyncIterator[ExchangeSettings]:
    accounts = tuple(word for account in ACCOUNTS for word in ("--account", account))
    simulator = Simulator(tmp_path, options=accounts)
    await simulator.start()
    yield load(
        ExchangeSettings,
        env_file=None,
        bybit_rest_url=f"http://127.0.0.1:{simulator.port}",
        bybit_ws_url=f"ws://127.0.0.1:{simulator.port}",
    )
    simulator.process.stop()


def keys(key: str, secret: str) -> BotKeys:
    return load(BotKeys, env_file=None, bybit_api_key=key, bybit_api_secret=secret)


async def test_a_key_of_the_same_account_is_taken(exchange: ExchangeSettings, registry: Registry) -> None:
    bot = registry.find("shortseller")
    checked = await check_new_key(exchange, bot, keys("old", "secret-old"), Credentials("new", "secret-new"))
    assert checked.old_answers
    again = await check_new_key(
        exchange, bot, keys("gone", "gone"), Credentials("new", "secret-new"), known_user_id=checked.user_id
    )
    assert (again.user_id, again.old_answers) == (checked.user_id, False)


async def test_a_key_that_shall_only_read_may_not_trade(exchange: ExchangeSettings, registry: Registry) -> None:
    bot, trades = registry.find("shortseller"), keys("old", "secret-old")
    with pytest.raises(Rejected, match="Read-Only"):
        await check_new_key(exchange, bot, trades, Credentials("new", "secret-new"), read_only=True)
    checked = await check_new_key(exchange, bot, trades, Credentials("reads", "secret-reads"), read_only=True)
    assert checked.old_answers


@pytest.mark.parametrize(
    ("key", "secret", "why"),
    [("other", "secret-other", "belongs to the account"), ("greedy", "secret-greedy", "may withdraw")],
)
async def test_a_key_of_another_account_or_one_that_withdraws_is_refused(
    exchange: ExchangeSettings, registry: Registry, key: str, secret: str, why: str
) -> None:
    with pytest.raises(Rejected, match=why):
        await check_new_key(exchange, registry.find("shortseller"), keys("old", "secret-old"), Credentials(key, secret))


async def test_a_key_with_a_wrong_secret_is_refused(exchange: ExchangeSettings, registry: Registry) -> None:
    with pytest.raises(KeyRefused):
        await check_new_key(
            exchange, registry.find("shortseller"), keys("old", "secret-old"), Credentials("new", "wrong")
        )


async def test_without_the_old_key_the_account_must_be_named(exchange: ExchangeSettings, registry: Registry) -> None:
    with pytest.raises(Rejected, match="--account"):
        await check_new_key(
            exchange, registry.find("shortseller"), keys("gone", "gone"), Credentials("new", "secret-new")
        )
