"""The exchange's addresses, as chosen by the settings."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from alpha.config.exchange import BYBIT_DOMAINS, Environment, ExchangeSettings
from alpha.errors import Misconfigured


@dataclass(frozen=True, slots=True)
class Hosts:
    """The addresses of one environment; the WebSocket URLs include their path."""

    environment: Environment
    rest: str
    private_ws: str
    public_ws: str


_KNOWN = {
    Environment.LIVE: ("https://api.bybit.com", "wss://stream.bybit.com", "wss://stream.bybit.com"),
    # The demo exchange has no public stream of its own: it trades at mainnet prices.
    Environment.DEMO: ("https://api-demo.bybit.com", "wss://stream-demo.bybit.com", "wss://stream.bybit.com"),
    Environment.TESTNET: (
        "https://api-testnet.bybit.com",
        "wss://stream-testnet.bybit.com",
        "wss://stream-testnet.bybit.com",
    ),
}


def hosts_of(settings: ExchangeSettings, *, demo: bool | None = None, category: str = "linear") -> Hosts:
    """The addresses for one bot; `demo` is the bot's own `<PREFIX>_BYBIT_DEMO`, which overrides BYBIT_DEMO.

    Raises Misconfigured when the address of a simulated exchange is invalid or belongs to Bybit.
    """
    environment = settings.environment(demo=demo)
    if environment is Environment.SIMULATED:
        return simulated_hosts(settings.bybit_rest_url or "", settings.bybit_ws_url or "", category=category)
    if settings.bybit_testnet and demo:
        raise Misconfigured("The bot's BYBIT_DEMO and BYBIT_TESTNET are both true; no exchange is both. Set one false.")
    rest, private, public = _KNOWN[environment]
    return Hosts(environment, rest, f"{private}/v5/private", f"{public}/v5/public/{category}")


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
            "Choose Bybit's own with BYBIT_DEMO and BYBIT_TESTNET."
        )
    return url.rstrip("/")
