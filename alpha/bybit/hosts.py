"""The exchange's addresses, as chosen by the settings."""

from dataclasses import dataclass

from alpha.config.exchange import ExchangeSettings
from alpha.config.gates import refuse_two_exchanges, simulated_address
from alpha.config.keys import BotKeys
from alpha.config.regions import DEMO_REST, DEMO_STREAMS, GLOBAL, REGIONS, RegionName
from alpha.model.account import Environment


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
    refuse_two_exchanges(settings, demo=demo, setting="The bot's BYBIT_DEMO")
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
    rest = simulated_address("BYBIT_REST_URL", rest_url, ("http", "https"))
    ws = simulated_address("BYBIT_WS_URL", ws_url, ("ws", "wss"))
    return Hosts(Environment.SIMULATED, rest, f"{ws}/v5/private", f"{ws}/v5/public/{category}")
