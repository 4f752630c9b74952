"""One bot's account as the guard sees it: its key, gateway, database id and mode."""

from dataclasses import dataclass, field
from decimal import Decimal

from alpha.bybit.caps import OrderCaps, OrderGuard, caps_for
from alpha.bybit.client import Gateway
from alpha.bybit.hosts import hosts_of
from alpha.bybit.models import ApiKeyInfo
from alpha.bybit.rate_limiter import Priority, RateLimiter
from alpha.bybit.session import CallPolicy, Credentials
from alpha.config.keys import load_guarding_keys
from alpha.errors import AlphaError, Misconfigured
from alpha.model.account import Environment, account_text
from alpha.model.exchange_profile import profile_of
from alpha.model.instrument import Instrument
from alpha.registry import Bot
from risk_guard.settings import GuardSettings
from risk_guard.store import GuardStore


@dataclass(slots=True)
class GuardedAccount:
    """One account. `id` and `user_id` are set once the exchange and PostgreSQL have answered."""

    bot: Bot
    gateway: Gateway
    environment: Environment
    key: ApiKeyInfo | None = None
    id: int | None = None
    observe: bool = True
    #: False for a bot without a trading key: its account is observed with the read-only key.
    trades: bool = True
    fault: str = ""
    instruments: dict[str, Instrument] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The account in order ids: environment and userID."""
        return account_text(self.environment, self.key.user_id if self.key else "unknown")

    @property
    def max_order_usdt(self) -> Decimal:
        """The largest slice in which a position is closed."""
        return self.gateway.guard.caps.max_order_usdt

    async def identify(self, store: GuardStore, *, observe: bool) -> None:
        """Find out whose key this is and the account's database id. Raises the gateway's and the store's errors."""
        key = self.key or await self.read_key(observe=observe)
        if not self.instruments:
            self.instruments = await self.gateway.instruments(rank=Priority.STOP)
        if self.id is None:
            self.id = await store.account_id(self.environment.value, key.user_id, self.bot.id)

    async def read_key(self, *, observe: bool) -> ApiKeyInfo:
        """Read the key's current rights; without the right to trade the guard only observes."""
        self.key = key = await self.gateway.key_info(rank=Priority.STOP)
        self.observe = observe or not key.can_trade
        return key

    async def instrument(self, symbol: str) -> Instrument | None:
        """The filters of a symbol; None when they are not available now."""
        if symbol not in self.instruments:
            try:
                self.instruments |= await self.gateway.instruments(symbol, rank=Priority.STOP)
            except AlphaError:
                return None
        return self.instruments.get(symbol)


def open_account(settings: GuardSettings, bot: Bot, throttle: RateLimiter) -> GuardedAccount:
    """The account of a bot. Raises Misconfigured when the bot has no key."""
    keys, trades = load_guarding_keys(bot)
    environment = settings.environment(demo=keys.bybit_demo)
    per_minute = profile_of(environment).orders_per_minute(600)
    # ALPHA_LIVE_MAX_ORDER_USDT holds for exits as well: they are sliced, not refused.
    caps = OrderCaps(
        max_order_usdt=settings.guard_max_order_usdt,
        max_orders_per_minute=per_minute,
        max_order_setting="GUARD_MAX_ORDER_USDT",
    )
    try:
        caps = caps_for(settings, caps, demo=keys.bybit_demo)
    except Misconfigured:
        # Observing real money needs no order cap; acting on it is refused by ALPHA_LIVE_TRADING.
        caps = OrderCaps(max_order_usdt=Decimal(0), max_orders_per_minute=1)
    gateway = Gateway(
        hosts_of(settings, keys),
        Credentials(keys.bybit_api_key.get_secret_value(), keys.bybit_api_secret.get_secret_value()),
        throttle,
        account=bot.id,
        guard=OrderGuard(bot.id, environment, caps, _no_entries, live_bots=settings.alpha_live_trading),
        policy=CallPolicy(timeout_s=5.0, throttle_wait_s=5.0),
    )
    return GuardedAccount(bot, gateway, environment, trades=trades)


async def _no_entries(_symbol: str) -> str | None:
    return "the guard only closes"
