"""Where a refused key belongs: the environment or site of Bybit that accepts it, asked one by one.

A key of another environment or region is refused with 10003, as one that is wrong. Only `user/query-api` is called, which changes
nothing; the secret never leaves this machine.
"""

from collections.abc import Iterator
from functools import partial

from alpha.bybit.client import Gateway
from alpha.bybit.hosts import Hosts, bybit_hosts
from alpha.bybit.rate_limiter import RateLimiter
from alpha.bybit.session import CallPolicy, Credentials
from alpha.clock import Backoff
from alpha.concurrency import gather_bounded
from alpha.config.regions import GLOBAL, REGION_NAMES, REGIONS
from alpha.errors import AlphaError
from alpha.model.account import Environment
from alpha.model.exchange_profile import profile_of

#: The return code of a key that this host does not know.
UNKNOWN_KEY = 10003
_SETTINGS = {
    Environment.LIVE: "BYBIT_DEMO=false and BYBIT_TESTNET=false",
    Environment.DEMO: "BYBIT_DEMO=true and BYBIT_TESTNET=false",
    Environment.TESTNET: "BYBIT_DEMO=false and BYBIT_TESTNET=true",
}


def _others(asked: Hosts) -> Iterator[Hosts]:
    """Every other place where a key may be at home; each address once."""
    seen = {asked.rest}
    for environment in (Environment.LIVE, Environment.DEMO, Environment.TESTNET):
        for region in REGION_NAMES:
            hosts = bybit_hosts(environment, region)
            if hosts.rest not in seen:
                seen.add(hosts.rest)
                yield hosts


async def home_of(asked: Hosts, key: Credentials, *, timeout_s: float = 5.0) -> Hosts | None:
    """The place that accepts the key which `asked` refused; None when none does or answers.

    A simulated exchange has no other place.
    """
    if not profile_of(asked.environment).has_sites:
        return None

    accepting: list[Hosts] = []

    async def ask(hosts: Hosts) -> None:
        gateway = Gateway(
            hosts,
            key,
            RateLimiter(None),
            account="home",
            policy=CallPolicy(backoff=Backoff(tries=1), timeout_s=timeout_s),
        )
        async with gateway:
            try:
                await gateway.key_info()
                accepting.append(hosts)
            except AlphaError:
                pass

    others = list(_others(asked))
    await gather_bounded(partial(ask, hosts) for hosts in others)
    return min(accepting, key=others.index, default=None)


def belongs_to(home: Hosts) -> str:
    """Where the key belongs and which settings choose that place, as a sentence."""
    where, settings = str(home.environment), _SETTINGS[home.environment]
    if home.region != GLOBAL:
        where += f" at {REGIONS[home.region].title}"
        settings += f" and BYBIT_REGION={home.region}"
    return f"The key belongs to Bybit {where}: set {settings}."
