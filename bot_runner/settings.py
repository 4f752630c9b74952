"""Settings of a bot's process. The strategy's own parameters are variables with the bot's prefix."""

from decimal import Decimal
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from alpha.bybit.caps import OrderCaps
from alpha.config.exchange import ExchangeSettings
from alpha.config.loader import Url
from alpha.config.services import DatabaseSettings, HealthSettings, LogSettings, RedisSettings, RegistrySettings
from alpha.model.account import Environment
from alpha.model.exchange_profile import profile_of


class BotSettings(ExchangeSettings, DatabaseSettings, RedisSettings, LogSettings, HealthSettings, RegistrySettings):
    """Everything a bot reads from the environment but its keys and its strategy's parameters."""

    alpha_max_order_usdt: Decimal = Field(Decimal(100_000), gt=0, description="the largest order in USDT")
    alpha_max_orders_per_minute: int = Field(30, ge=1, description="the most entries a minute")
    alpha_max_price_distance_pct: Decimal = Field(
        Decimal(10), gt=0, description="how far a limit price may be from the market, in percent"
    )
    alpha_lease_seconds: int = Field(
        10, ge=2, le=600, description="how long an account stays reserved for a bot that no longer renews, in seconds"
    )
    alpha_takeover_wait_ms: int | None = Field(
        None,
        ge=200,
        description="how long a bot that takes over waits before it opens anything, in milliseconds; on a simulated exchange only, "
        "elsewhere it follows from the lease",
    )
    alpha_candle_grace_ms: int = Field(
        2_000, ge=0, description="how long a bar waits for the candles of all symbols, in milliseconds of wall time"
    )
    alpha_container: str | None = Field(
        None, description="the container whose bots one process runs (`python -m bot_runner`), when several share it"
    )
    alpha_strategy_deadline_s: float = Field(
        15.0, gt=0, le=300, description="how long a strategy in a shared container may take per bar, in seconds"
    )
    alpha_step_url: Url | None = Field(
        None, description="the address of a simulated exchange in step clock; each point is reported to it"
    )

    alpha_columns_dir: Path | None = Field(
        None, description="the folder of the files whose columns a strategy looks at; none where it looks at none"
    )
    model_server_url: Url | None = Field(
        None, description="the address of the model server; none where no bot uses a model"
    )
    model_deadline_ms: int = Field(
        500, ge=1, le=60_000, description="how long the model server may take per bar, in milliseconds of wall time"
    )

    @model_validator(mode="after")
    def _real_takeovers_take_their_time(self) -> Self:
        if self.alpha_takeover_wait_ms is not None and self.bybit_rest_url is None:
            raise ValueError("ALPHA_TAKEOVER_WAIT_MS is for a simulated exchange (BYBIT_REST_URL); remove it")
        return self

    def caps(self, environment: Environment) -> OrderCaps:
        """The hard caps."""
        return OrderCaps(
            max_order_usdt=self.alpha_max_order_usdt,
            max_orders_per_minute=profile_of(environment).orders_per_minute(self.alpha_max_orders_per_minute),
            max_distance_pct=self.alpha_max_price_distance_pct,
        )
