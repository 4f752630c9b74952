"""What a key may do and how long: with real money what can stop trading is a fault, elsewhere a note."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from alpha.bybit.client import Gateway
from alpha.bybit.hosts import simulated_hosts
from alpha.bybit.models import ApiKeyInfo
from alpha.bybit.rate_limiter import RateLimiter
from alpha.bybit.session import Credentials
from alpha.config.keys import BotKeys
from alpha.model.account import Environment
from alpha.registry import Bot, Registry, load_registry
from alpha_cli.doctor.exchange import KeyChecks, _rights
from alpha_cli.doctor.finding import CheckOutcome
from exchange_simulator.tests.server.served import served

BOT = load_registry(Path(__file__).resolve().parents[3] / "bots.toml").bots[0]


def key(ips: tuple[str, ...] = ("192.0.2.1",), days: int = 300) -> ApiKeyInfo:
    """A key that ends in so many days."""
    ends = (datetime.now(UTC) + timedelta(days=days)).isoformat()
    return ApiKeyInfo("1", "k", False, True, {"ContractTrade": ("Order",), "Wallet": ()}, True, ips, ends, days, "")


@pytest.mark.parametrize(
    ("what", "said"),
    [(key(ips=("*",)), "7 days after the account's password was changed"), (key(days=13), "The key ends on ")],
)
def test_an_unbound_key_and_one_that_ends_soon(what: ApiKeyInfo, said: str) -> None:
    for live, outcome in ((True, CheckOutcome.FAULT), (False, CheckOutcome.NOTE)):
        found = [finding for finding in _rights(BOT, what, live=live) if said in finding.text]
        assert [finding.outcome for finding in found] == [outcome]
    well = [finding.outcome for finding in _rights(BOT, key(), live=True)]
    assert well == [CheckOutcome.OK]


async def test_disconnect_protection_is_read_from_the_account() -> None:
    async with served(accounts=("with:secret:1:dcp", "without:secret:1")) as client:
        for name, on in (("with", True), ("without", False)):
            address = f"127.0.0.1:{client.app.port}"
            # its wall clock stands still in this test: as on Bybit itself, the offset is measured
            hosts = replace(simulated_hosts(f"http://{address}", f"ws://{address}"), environment=Environment.TESTNET)
            async with Gateway(hosts, Credentials(name, "secret"), RateLimiter(None), account=name) as gateway:
                assert (await gateway.account_info()).dcp is on
        own = client.with_key("with", "secret")
        (row,) = (await own.get("/v5/account/query-dcp-info"))["result"]["dcpInfos"]
        assert row["dcpStatus"] == "ON"


def _registry_of(count: int) -> Registry:
    bots = load_registry(Path(__file__).resolve().parents[3] / "bots.toml").bots
    return Registry(tuple(bots[:count]))


@pytest.mark.parametrize(
    ("options", "said", "remedy"),
    [
        (("", ""), "How many exist only a main account's key with a right to transfer may ask", ""),
        ((":transfer", ""), "the user has 1: the main one and 0 of 20", "Make 1 more sub-account on bybit.com."),
        ((":transfer", ":sub=SHORTSELLER"), "the user has 2: the main one and 1 of 20", ""),
    ],
)
async def test_how_many_accounts_the_registry_needs_and_how_many_there_are(
    options: tuple[str, str], said: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = _registry_of(2)
    names = [bot.prefix for bot in registry.bots]
    accounts = [f"{name}:secret:100{option}" for name, option in zip(names, options, strict=True)]
    async with served(accounts=tuple(accounts)) as client:
        for name in names:
            monkeypatch.setenv(f"{name}_BYBIT_API_KEY", name)
            monkeypatch.setenv(f"{name}_BYBIT_API_SECRET", "secret")
        monkeypatch.setattr(KeyChecks, "_gateway", _gateway_to(f"127.0.0.1:{client.app.port}"))
        checks = KeyChecks(MagicMock(), registry, RateLimiter(None))
        found = [finding async for finding in checks.check() if finding.subject == "sub-accounts"]
    (finding,) = found
    assert said in finding.text
    assert finding.text.startswith("2 bots with keys need as many accounts")
    assert finding.remedy == remedy


def _gateway_to(address: str) -> Callable[[KeyChecks, Bot, BotKeys], Gateway]:
    def opened(_checks: KeyChecks, bot: Bot, keys: BotKeys) -> Gateway:
        hosts = replace(simulated_hosts(f"http://{address}", f"ws://{address}"), environment=Environment.TESTNET)
        credentials = Credentials(keys.bybit_api_key.get_secret_value(), keys.bybit_api_secret.get_secret_value())
        return Gateway(hosts, credentials, RateLimiter(None), account=bot.id)

    return opened
