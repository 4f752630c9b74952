"""The exchange's addresses, as chosen by the settings."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from alpha.config.exchange import Environment, ExchangeSettings
from alpha.config.keys import BotKeys
from alpha.config.regions import BYBIT_DOMAINS, DEMO_REST, DEMO_STREAMS, GLOBAL, REGIONS, RegionName
from alpha.errors import Misconfigured


@dataclass(frozen=True, slots=True)
class Hosts:
    """The addresses of one environment; the WebSocket URLs include their path."""

    environment: Environment
    rest: str
    private_ws: str
    public_ws: str
    region: RegionName = GLOBAL

    @property
    def status_ws(self) -> str:
        """The public stream of announced maintenance."""
        return f"{self.public_ws.partition('/v5/public/')[0]}/v5/public/misc/status"


def hosts_of(
    settings: ExchangeSettings, keys: BotKeys | None = None, *, demo: bool | None = None, category: str = "linear"
) -> Hosts:
    """The addresses for one bot: its own `<PREFIX>_BYBIT_DEMO` and `<PREFIX>_BYBIT_REGION` override the general ones.

    `demo` overrides both. Raises Misconfigured when the address of a simulated exchange is invalid or belongs to Bybit.
    """
    if demo is None and keys is not None:
        demo = keys.bybit_demo
    region = keys.bybit_region if keys is not None and keys.bybit_region is not None else settings.bybit_region
    environment = settings.environment(demo=demo)
    if environment is Environment.SIMULATED:
        return simulated_hosts(settings.bybit_rest_url or "", settings.bybit_ws_url or "", category=category)
    if settings.bybit_testnet and demo:
        raise Misconfigured("The bot's BYBIT_DEMO and BYBIT_TESTNET are both true; no exchange is both. Set one false.")
    return bybit_hosts(environment, region, category=category)


def bybit_hosts(environment: Environment, region: RegionName = GLOBAL, *, category: str = "linear") -> Hosts:
    """The addresses of Bybit's live, demo or testnet exchange at the site of a region."""
    site = REGIONS[region]
    if environment is Environment.DEMO:
        # The demo exchange has no public stream of its own: it trades at mainnet prices.
        region, rest, private, public = GLOBAL, DEMO_REST, DEMO_STREAMS, REGIONS[GLOBAL].streams
    elif environment is Environment.TESTNET:
        rest, private, public = site.testnet_rest, site.testnet_streams, site.testnet_streams
    else:
        rest, private, public = site.rest, site.streams, site.streams
    return Hosts(
        environment,
        f"https://{rest}",
        f"wss://{private}/v5/private",
        f"wss://{public}/v5/public/{category}",
        region,
    )


def simulated_hosts(rest_url: str, ws_url: str, *, category: str = "linear") -> Hosts:
    """The addresses of a simulated exchange; Misconfigured, naming the setting, if invalid or Bybit's."""
    rest = _checked("BYBIT_REST_URL", rest_url, ("http", "https"))
    ws = _checked("BYBIT_WS_URL", ws_url, ("ws", "wss"))
    return Hosts(Environment.SIMULATED, rest, f"{ws}/v5/private", f"{ws}/v5/public/{category}")


def is_bybit_host(host: str) -> bool:
    """True when `host` is under a Bybit domain of any country."""
    labels = host.lower().rstrip(".").split(".")
    return any(label in BYBIT_DOMAINS or label.startswith("bybit") for label in labels)


def _checked(setting: str, url: str, schemes: tuple[str, ...]) -> str:
    example = f"{schemes[0]}://127.0.0.1:8080"
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError as fault:
        raise Misconfigured(
            f"{setting} is {url!r}, which is not an address: {fault}. It looks like {example}."
        ) from None
    if parts.scheme not in schemes or not host:
        raise Misconfigured(f"{setting} is {url!r}; it must look like {example}.")
    if parts.username or parts.password or parts.query or parts.fragment or "\\" in url:
        raise Misconfigured(f"{setting} is {url!r}; an exchange's address has no user, query or fragment.")
    if is_bybit_host(host):
        raise Misconfigured(
            f"{setting} names {host}, a host of Bybit; it is for a simulated exchange only. "
            "Choose Bybit's own with BYBIT_DEMO, BYBIT_TESTNET and BYBIT_REGION."
        )
    return url.rstrip("/")
