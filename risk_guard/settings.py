"""The guard's settings. Its limits are wider than the strategies' own: they are the last line of defence."""

from decimal import Decimal

from pydantic import Field

from alpha.config.exchange import ExchangeSettings
from alpha.config.services import DatabaseSettings, HealthSettings, LogSettings, RedisSettings, RegistrySettings
from alpha.strategy.risk_rules import Action, LossLimit, Until, Window
from bot_control.open import BotControlSettings


class GuardSettings(
    ExchangeSettings, DatabaseSettings, RedisSettings, LogSettings, HealthSettings, RegistrySettings, BotControlSettings
):
    """Everything the guard reads from the environment except the bots' keys."""

    guard_observe: bool = Field(False, description="true: everything is watched, nothing is sent")
    alpha_pause_in_maintenance: bool = Field(
        True,
        description="true: no entries from shortly before an announced maintenance of the exchange until it is over",
    )
    guard_patrol_s: int = Field(
        60, ge=1, le=60, description="how often positions are compared with their stops, in seconds"
    )
    guard_emergency_stop_pct: Decimal = Field(
        Decimal(10),
        gt=0,
        lt=100,
        description="distance from the entry, in percent, of a stop whose original price is unknown",
    )
    guard_protect_manual: bool = Field(False, description="true: positions that no bot opened get a stop as well")
    guard_confirm_s: int = Field(
        60, ge=1, description="for how long an account must stay flat after a flatten, in seconds"
    )
    guard_answer_s: Decimal = Field(
        Decimal(5), gt=0, description="how long a bot may take to answer before it is stopped, in seconds"
    )
    guard_lease_s: int = Field(
        3, ge=2, le=30, description="after how many seconds another guard takes over from one that is silent"
    )
    guard_max_order_usdt: Decimal = Field(
        Decimal(100_000), gt=0, description="the largest slice in which a position is closed"
    )

    guard_day_loss_pct: Decimal = Field(
        Decimal(8), gt=0, lt=100, description="loss of a UTC day that stops entries, in percent"
    )
    guard_week_loss_pct: Decimal = Field(
        Decimal(12), gt=0, lt=100, description="loss of a week that stops entries, in percent"
    )
    guard_month_loss_pct: Decimal = Field(
        Decimal(20), gt=0, lt=100, description="loss of a month that stops entries, in percent"
    )
    guard_drawdown_pct: Decimal = Field(
        Decimal(30), gt=0, lt=100, description="fall from the peak that closes everything, in percent"
    )
    guard_portfolio_day_loss_pct: Decimal = Field(
        Decimal(8),
        gt=0,
        lt=100,
        description="loss of all accounts together in a UTC day that stops entries, in percent",
    )
    guard_portfolio_drawdown_pct: Decimal = Field(
        Decimal(30), gt=0, lt=100, description="fall of all accounts together that closes everything, in percent"
    )
    guard_max_gross: Decimal = Field(Decimal(5), gt=0, description="the most gross exposure, in multiples of equity")
    guard_max_net: Decimal = Field(Decimal(4), gt=0, description="the most net exposure, in multiples of equity")
    guard_max_positions: int = Field(30, ge=1, description="the most positions of one bot")
    guard_max_orders_per_minute: int = Field(
        120, ge=1, description="the most orders of one bot in a minute of exchange time"
    )
    guard_funding_extreme_pct: Decimal = Field(
        Decimal("0.3"), gt=0, description="a funding rate that is worth an alert, in percent"
    )

    def bot_limits(self) -> tuple[LossLimit, ...]:
        """The limits of each bot."""
        return (
            LossLimit(Window.DAY, self.guard_day_loss_pct / 100, Action.NO_ENTRIES, Until.WINDOW_END),
            LossLimit(Window.WEEK, self.guard_week_loss_pct / 100, Action.NO_ENTRIES, Until.WINDOW_END),
            LossLimit(Window.MONTH, self.guard_month_loss_pct / 100, Action.NO_ENTRIES, Until.WINDOW_END),
            LossLimit(Window.DRAWDOWN, self.guard_drawdown_pct / 100, Action.CLOSE_ALL, Until.RESUMED),
        )

    def portfolio_limits(self) -> tuple[LossLimit, ...]:
        """The limits of all bots together."""
        return (
            LossLimit(Window.DAY, self.guard_portfolio_day_loss_pct / 100, Action.NO_ENTRIES, Until.WINDOW_END),
            LossLimit(Window.DRAWDOWN, self.guard_portfolio_drawdown_pct / 100, Action.CLOSE_ALL, Until.RESUMED),
        )
