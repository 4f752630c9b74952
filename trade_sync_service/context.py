"""What the service depends on: bots, Redis, request budget and alerts; plus one bot's gateway and store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from alpha.alerts import Alert, Alerts
from alpha.bybit.client import Gateway
from alpha.bybit.hosts import hosts_of
from alpha.bybit.models import ApiKeyInfo
from alpha.bybit.rate_limiter import Priority, RateLimiter
from alpha.bybit.session import Credentials
from alpha.clock import wall_ms
from alpha.config.keys import BotKeys, load_reading_keys, read_only_advice
from alpha.live_state.connect import RedisClients
from alpha.logs import logger
from alpha.registry import Bot, Registry, load_registry
from trade_sync_service.io.store import AccountStore
from trade_sync_service.settings import SyncSettings

log = logger(__name__)


class ServiceContext:
    """Shared by all bots of one process. Close it at the end."""

    def __init__(self, settings: SyncSettings, registry: Registry | None = None) -> None:
        self.settings = settings
        self.registry = registry if registry is not None else load_registry(settings.alpha_bots_file)
        self.redis = RedisClients(settings)
        self.throttle = RateLimiter(self.redis.shared, egress=settings.alpha_egress, bots=len(self.registry.bots))
        self.alerts = Alerts(self.redis.shared, "trade_sync_service")
        self._told: set[str] = set()

    async def close(self) -> None:
        """Close the connections to Redis."""
        await self.redis.close()

    def bots(self, names: list[str]) -> list[Bot]:
        """The bots with these names; empty: all in the registry. Raises Misconfigured for an unknown name."""
        return [self.registry.find(name) for name in names] or list(self.registry.bots)

    async def alert(self, alert: Alert) -> None:
        """Raise an alert now."""
        await self.alerts.raise_alert(alert, wall_ms())

    @asynccontextmanager
    async def link(self, bot: Bot, keys: BotKeys | None = None) -> AsyncIterator["AccountSession"]:
        """One bot's gateway and store, closed on exit.

        Raises Misconfigured for keys that are missing, refused or of another bot's account; Retry for transient errors.
        """
        keys = keys if keys is not None else load_reading_keys(bot)
        gateway = Gateway(
            hosts_of(self.settings, keys),
            Credentials(keys.bybit_api_key.get_secret_value(), keys.bybit_api_secret.get_secret_value()),
            self.throttle,
            account=bot.id,
        )
        try:
            info = await gateway.key_info(rank=Priority.BACKFILL)
            if info.can_trade and bot.id not in self._told:
                self._told.add(bot.id)
                log.warning("key_may_trade", bot=bot.id, remedy=read_only_advice(bot))
            store = await AccountStore.open(self.settings, bot.id, gateway.environment.value, info.user_id)
            try:
                yield AccountSession(bot, gateway, store, info)
            finally:
                await store.close()
        finally:
            await gateway.close()


@dataclass(frozen=True, slots=True)
class AccountSession:
    """One bot's connection to its account: gateway and store."""

    bot: Bot
    gateway: Gateway
    store: AccountStore
    key: ApiKeyInfo
