"""The gates in front of an exchange: a simulated address is never Bybit's, and real money moves only where it is named."""

from decimal import Decimal
from urllib.parse import urlsplit

from alpha.config.exchange import ExchangeSettings
from alpha.config.keys import BotKeys
from alpha.config.regions import names_bybit
from alpha.errors import Misconfigured
from alpha.model.account import Environment
from alpha.registry import Bot


def refuse_live(settings: ExchangeSettings, keys: BotKeys, bot: Bot) -> None:
    """Raise Misconfigured when this bot would trade real money without the operator's confirmation."""
    refuse_two_exchanges(settings, demo=keys.bybit_demo, setting=f"{bot.prefix}_BYBIT_DEMO")
    environment = settings.environment(demo=keys.bybit_demo)
    check_real_money(environment, bot.id, settings.alpha_live_trading)
    if environment is Environment.LIVE:
        largest_live_order(settings)


def check_real_money(environment: Environment, bot_id: str, live_bots: tuple[str, ...]) -> None:
    """Raise Misconfigured unless this bot may trade in this environment. `live_bots` is ALPHA_LIVE_TRADING."""
    if environment is Environment.LIVE and bot_id not in live_bots:
        raise Misconfigured(
            f"{bot_id} would trade real money (BYBIT_DEMO=false), but ALPHA_LIVE_TRADING does not name it. "
            f"Add {bot_id} to ALPHA_LIVE_TRADING, or set BYBIT_DEMO=true."
        )


def largest_live_order(settings: ExchangeSettings) -> Decimal:
    """The largest order with real money, in USDT; Misconfigured when it is not set."""
    if settings.alpha_live_max_order_usdt is None:
        raise Misconfigured(
            "ALPHA_LIVE_MAX_ORDER_USDT is not set. Real money needs a largest order in USDT: put it into .env."
        )
    return Decimal(settings.alpha_live_max_order_usdt)


def refuse_two_exchanges(settings: ExchangeSettings, *, demo: bool | None, setting: str) -> None:
    """Raise Misconfigured when a bot's own setting asks for the demo exchange and the general one for the testnet."""
    if settings.bybit_testnet and demo:
        raise Misconfigured(
            f"{setting} and BYBIT_TESTNET are both true, and no exchange is both. Set one of them to false."
        )


def simulated_address(setting: str, url: str, schemes: tuple[str, ...]) -> str:
    """The address of a simulated exchange, without a slash at its end. Misconfigured when it is none, or Bybit's own."""
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
    if names_bybit(host):
        raise Misconfigured(
            f"{setting} names {host}, a host of Bybit; it is for a simulated exchange only. "
            "Choose Bybit's own with BYBIT_DEMO, BYBIT_TESTNET and BYBIT_REGION."
        )
    return url.rstrip("/")
