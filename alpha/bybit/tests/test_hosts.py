"""The settings choose one exchange, and nothing bypasses the confirmation of real money."""

import pytest

from alpha.bybit.hosts import hosts_of, simulated_hosts
from alpha.config.exchange import ExchangeSettings
from alpha.config.keys import BotKeys
from alpha.config.loader import load
from alpha.config.regions import REGIONS, names_bybit
from alpha.errors import Misconfigured
from alpha.model.account import Environment


def _settings(*, bybit_demo: bool, bybit_testnet: bool = False) -> ExchangeSettings:
    return load(ExchangeSettings, env_file=None, bybit_demo=bybit_demo, bybit_testnet=bybit_testnet)


@pytest.mark.parametrize(
    ("demo", "testnet", "environment", "rest", "private", "public"),
    [
        (False, False, Environment.LIVE, "api.bybit.com", "stream.bybit.com", "stream.bybit.com"),
        (True, False, Environment.DEMO, "api-demo.bybit.com", "stream-demo.bybit.com", "stream.bybit.com"),
        (
            False,
            True,
            Environment.TESTNET,
            "api-testnet.bybit.com",
            "stream-testnet.bybit.com",
            "stream-testnet.bybit.com",
        ),
    ],
)
def test_the_two_flags_choose_the_hosts(
    demo: bool, testnet: bool, environment: Environment, rest: str, private: str, public: str
) -> None:
    hosts = hosts_of(_settings(bybit_demo=demo, bybit_testnet=testnet))
    assert hosts.environment is environment
    assert hosts.rest == f"https://{rest}"
    assert hosts.private_ws == f"wss://{private}/v5/private"
    assert hosts.public_ws == f"wss://{public}/v5/public/linear"


def test_a_bot_of_its_own_may_be_live_while_the_others_are_demo() -> None:
    assert hosts_of(_settings(bybit_demo=True), demo=False).environment is Environment.LIVE


def test_both_flags_at_once_are_refused() -> None:
    with pytest.raises(Misconfigured):
        hosts_of(_settings(bybit_demo=True, bybit_testnet=True))
    with pytest.raises(Misconfigured):
        hosts_of(_settings(bybit_demo=False, bybit_testnet=True), demo=True)


def test_a_simulated_exchange_serves_everything_from_its_own_address() -> None:
    hosts = simulated_hosts("http://127.0.0.1:8080/", "ws://127.0.0.1:8080")
    assert hosts.environment is Environment.SIMULATED
    assert hosts.rest == "http://127.0.0.1:8080"
    assert hosts.private_ws == "ws://127.0.0.1:8080/v5/private"
    assert hosts.public_ws == "ws://127.0.0.1:8080/v5/public/linear"


@pytest.mark.parametrize(
    "url",
    [
        "https://api.bybit.com",
        "https://API.BYBIT.COM.",
        "http://api-demo.bybit.com:443",
        "https://api.bytick.com",
        "https://api.bybit.nl",
        "https://api.bybit.kz",
        "https://api.bybit.id",
        "https://api.bybitgeorgia.ge",
        "https://api.manepa.jp",
        "https://api.bybit-tr.com",
        "https://api.bybit.com/#@127.0.0.1",
        "https://api.bybit.com#@127.0.0.1",
        "https://127.0.0.1@api.bybit.com",
        "https://api.bybit.com\\@127.0.0.1",
        "https://api.bybit.com?@127.0.0.1",
    ],
)
def test_a_host_of_bybit_is_no_simulated_exchange(url: str) -> None:
    with pytest.raises(Misconfigured, match="BYBIT_REST_URL"):
        simulated_hosts(url, "ws://127.0.0.1:1")


def test_a_stream_host_of_bybit_is_no_simulated_exchange() -> None:
    with pytest.raises(Misconfigured, match="BYBIT_WS_URL"):
        simulated_hosts("http://127.0.0.1:1", "wss://stream.bybit.com")


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "ftp://127.0.0.1", "http://", "http://[::1", "http://h:99999"])
def test_what_is_no_address_is_refused_by_the_name_of_its_setting(url: str) -> None:
    with pytest.raises(Misconfigured, match="BYBIT_REST_URL"):
        simulated_hosts(url, "ws://127.0.0.1:1")


@pytest.mark.parametrize("host", ["simulator", "exchange_simulator", "localhost", "10.0.0.5", "notbybit.example.org"])
def test_other_hosts_are_fine(host: str) -> None:
    assert not names_bybit(host)


@pytest.mark.parametrize(
    ("region", "rest", "private"),
    [
        ("global", "api.bybit.com", "stream.bybit.com"),
        ("nl", "api.bybit.nl", "stream.bybit.com"),
        ("tr", "api.bybit.tr", "stream.bybit.tr"),
        ("kz", "api.bybit.kz", "stream.bybit.kz"),
        ("ge", "api.bybitgeorgia.ge", "stream.bybitgeorgia.ge"),
        ("ae", "api.bybit.ae", "stream.bybit.com"),
        ("id", "api.bybit.id", "stream.bybit.id"),
        ("eu", "api.bybit.eu", "stream.bybit.eu"),
        ("jp", "api.manepa.jp", "stream.bybit.com"),
    ],
)
def test_the_region_chooses_the_site(region: str, rest: str, private: str) -> None:
    settings = load(ExchangeSettings, env_file=None, bybit_demo=False, bybit_region=region)
    hosts = hosts_of(settings)
    assert (hosts.rest, hosts.private_ws) == (f"https://{rest}", f"wss://{private}/v5/private")
    assert hosts.region == region
    assert hosts.status_ws == f"wss://{private}/v5/public/misc/status"
    # demo trading is the global site's
    assert hosts_of(settings, demo=True).rest == "https://api-demo.bybit.com"


def test_a_bot_may_be_registered_at_another_site_than_the_others() -> None:
    settings = load(ExchangeSettings, env_file=None, bybit_demo=False, bybit_region="tr")
    own = load(BotKeys, env_file=None, bybit_api_key="k", bybit_api_secret="s", bybit_region="kz")
    assert hosts_of(settings, own).rest == "https://api.bybit.kz"
    other = load(BotKeys, env_file=None, bybit_api_key="k", bybit_api_secret="s")
    assert hosts_of(settings, other).rest == "https://api.bybit.tr"
    testnet = load(ExchangeSettings, env_file=None, bybit_demo=False, bybit_testnet=True, bybit_region="jp")
    assert hosts_of(testnet).rest == "https://api-testnet.manepa.jp"


def test_an_unknown_region_is_a_sentence_with_the_choices() -> None:
    with pytest.raises(Misconfigured, match=r"BYBIT_REGION is 'fr'.*'global', 'nl'"):
        load(ExchangeSettings, env_file=None, bybit_region="fr")


def test_every_host_of_the_table_is_kept_out_of_the_simulated_address() -> None:
    for region in REGIONS.values():
        for host in (region.rest, region.streams, region.testnet_rest, region.testnet_streams, "api.bytick.com"):
            assert names_bybit(host)
            with pytest.raises(Misconfigured, match="a host of Bybit"):
                load(ExchangeSettings, env_file=None, bybit_rest_url=f"https://{host}", bybit_ws_url="ws://127.0.0.1:1")
