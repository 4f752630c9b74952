"""A key of another region or environment: the place that knows it is found, by the `Host` header of the simulated exchange."""

import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from alpha.bybit import hosts as table
from alpha.bybit import key_home
from alpha.bybit.client import Gateway
from alpha.bybit.errors import KeyRefused
from alpha.bybit.hosts import Hosts, bybit_hosts
from alpha.bybit.rate_limiter import RateLimiter
from alpha.bybit.session import Credentials
from alpha.config.regions import names_bybit
from alpha.model.account import Environment
from exchange_simulator.tests.server.served import served

ACCOUNTS = ("home-key:secret", "eu-key:secret:1:region=eu", "tr-key:secret:1:region=tr")


@pytest.fixture
async def bybit(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Hosts]]:
    """Every host of Bybit is the simulated exchange, by its own name: nothing leaves this machine."""
    resolve = socket.getaddrinfo

    def at_home(host: Any, *rest: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        return resolve("127.0.0.1" if names_bybit(name) else host, *rest, **more)

    async with served(accounts=ACCOUNTS) as client:

        def plain(environment: Environment, region: Any = "global", *, category: str = "linear") -> Hosts:
            found = bybit_hosts(environment, region, category=category)
            return replace(found, rest=f"{found.rest.replace('https', 'http')}:{client.app.port}")

        monkeypatch.setattr(socket, "getaddrinfo", at_home)
        monkeypatch.setattr(key_home, "bybit_hosts", plain)
        yield plain


@pytest.mark.parametrize(
    ("asked", "key", "sentence"),
    [
        (("live", "global"), "eu-key", "Bybit live at European Economic Area (bybit.eu): set BYBIT_DEMO=false and "),
        (
            ("live", "eu"),
            "tr-key",
            "Bybit live at Turkey: set BYBIT_DEMO=false and BYBIT_TESTNET=false and BYBIT_REGION=tr.",
        ),
        (("live", "kz"), "home-key", "Bybit live: set BYBIT_DEMO=false and BYBIT_TESTNET=false."),
    ],
)
async def test_the_place_that_knows_the_key_is_named(
    bybit: Callable[..., Hosts], asked: tuple[Environment, Any], key: str, sentence: str
) -> None:
    hosts = bybit(Environment(asked[0]), asked[1])
    credentials = Credentials(key, "secret")
    async with Gateway(hosts, credentials, RateLimiter(None), account="x") as gateway:
        with pytest.raises(KeyRefused) as refused:
            await gateway.key_info()
    assert refused.value.ret_code == key_home.UNKNOWN_KEY
    # whose site makes no keys for own software says so with every refusal
    assert ("none for software of one's own" in str(refused.value)) == (asked[1] == "eu")
    home = await key_home.home_of(hosts, credentials)
    assert home is not None
    assert sentence in key_home.belongs_to(home)


async def test_a_key_that_nobody_knows_belongs_nowhere(bybit: Callable[..., Hosts]) -> None:
    hosts = bybit(Environment.LIVE)
    assert await key_home.home_of(hosts, Credentials("nobody", "secret")) is None


async def test_a_simulated_exchange_has_no_other_place() -> None:
    hosts = table.simulated_hosts("http://127.0.0.1:9", "ws://127.0.0.1:9")
    assert await key_home.home_of(hosts, Credentials("a", "b")) is None
