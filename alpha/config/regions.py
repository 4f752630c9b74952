"""Bybit's sites by region, and their hosts: the one table of them.

Source: Bybit's "Integration Guidance" (developer documentation, July 2026). A key works only at the site where its account is
registered. Demo trading and the testnet are the global site's, except that Japan has a testnet of its own.
"""

import re
from dataclasses import dataclass
from typing import Literal, get_args

#: The values of BYBIT_REGION.
RegionName = Literal["global", "nl", "tr", "kz", "ge", "ae", "id", "eu", "jp"]
GLOBAL: RegionName = "global"
REGION_NAMES: tuple[RegionName, ...] = get_args(RegionName)


@dataclass(frozen=True, slots=True)
class Region:
    """One site. Hosts are bare names; a site without streams of its own uses the global ones."""

    title: str
    rest: str
    streams: str = "stream.bybit.com"
    testnet_rest: str = "api-testnet.bybit.com"
    testnet_streams: str = "stream-testnet.bybit.com"
    #: What a user of this site must know; "" for nothing.
    note: str = ""


REGIONS: dict[RegionName, Region] = {
    "global": Region("Bybit (bybit.com)", "api.bybit.com"),
    "nl": Region("Netherlands", "api.bybit.nl"),
    "tr": Region("Turkey", "api.bybit.tr", "stream.bybit.tr"),
    "kz": Region("Kazakhstan", "api.bybit.kz", "stream.bybit.kz"),
    "ge": Region("Georgia", "api.bybitgeorgia.ge", "stream.bybitgeorgia.ge"),
    "ae": Region("United Arab Emirates", "api.bybit.ae"),
    "id": Region("Indonesia", "api.bybit.id", "stream.bybit.id"),
    "eu": Region(
        "European Economic Area (bybit.eu)",
        "api.bybit.eu",
        "stream.bybit.eu",
        note="bybit.eu makes keys for applications of its broker partners only, none for software of one's own. What works "
        "without a key: the simulated exchange on Bybit's public prices (make simulator ARGS='--market live'), the demo and "
        "back-tests.",
    ),
    "jp": Region("Japan", "api.manepa.jp", testnet_rest="api-testnet.manepa.jp"),
}
DEMO_REST, DEMO_STREAMS = "api-demo.bybit.com", "stream-demo.bybit.com"
#: A second name of the global site.
_ALIASES = ("api.bytick.com",)


def _domains() -> tuple[str, ...]:
    hosts = [*_ALIASES, DEMO_REST, DEMO_STREAMS]
    for region in REGIONS.values():
        hosts += [region.rest, region.streams, region.testnet_rest, region.testnet_streams]
    return tuple(dict.fromkeys(host.split(".")[-2] for host in hosts))


#: The names of Bybit's domains, without endings: a host with one of them is never a simulated exchange.
BYBIT_DOMAINS = _domains()


def names_bybit(url: str) -> bool:
    """True when any part of `url` that could be read as a host is under a Bybit domain, of any country."""
    labels = re.split(r"[^a-z0-9-]+", url.lower())
    return any(label in BYBIT_DOMAINS or label.startswith("bybit") for label in labels)
