"""The parameters of ShortSeller."""

from decimal import Decimal

from pydantic import Field, model_validator

from alpha.strategy.base import Parameters


class ShortSellerParameters(Parameters):
    """Fractions are of the entry price unless said otherwise; tables are by symbol."""

    symbols: tuple[str, ...] = Field(default=("BTCUSDT", "ETHUSDT", "SOLUSDT"), description="the symbols it trades")
    ema_fast: int = Field(default=240, ge=2, description="period of the fast average, in bars")
    ema_slow: int = Field(default=600, ge=2, description="period of the slow average, in bars")
    margin: Decimal = Field(
        default=Decimal("0.07"), gt=0, le=1, description="margin of one position, as a fraction of equity"
    )
    leverage: Decimal = Field(default=Decimal(10), ge=1, description="leverage")
    stop_loss: dict[str, Decimal] = Field(
        default={"BTCUSDT": Decimal("0.010"), "ETHUSDT": Decimal("0.015"), "SOLUSDT": Decimal("0.015")},
        description="the stop loss above the entry, by symbol",
    )
    take_profit: dict[str, Decimal] = Field(
        default={"BTCUSDT": Decimal("0.030"), "ETHUSDT": Decimal("0.045"), "SOLUSDT": Decimal("0.060")},
        description="the take profit below the entry, by symbol",
    )
    trailing_distance: dict[str, Decimal] = Field(
        default={"BTCUSDT": Decimal("0.01"), "ETHUSDT": Decimal("0.02"), "SOLUSDT": Decimal("0.02")},
        description="the distance of the trailing stop, by symbol",
    )
    trailing_from: dict[str, Decimal] = Field(
        default={"BTCUSDT": Decimal("0.02"), "ETHUSDT": Decimal("0.02"), "SOLUSDT": Decimal("0.03")},
        description="the gain from which the trailing stop works, by symbol",
    )
    time_limit_hours: Decimal = Field(default=Decimal(24), gt=0, description="the longest holding time, in hours")
    regime_exit_after_hours: Decimal = Field(
        default=Decimal(1),
        ge=0,
        description="the holding time after which the end of the falling market closes, in hours",
    )
    cooldown_hours: Decimal = Field(default=Decimal(1), ge=0, description="the pause after an exit, a symbol, in hours")
    entries_per_day: int = Field(default=12, ge=1, description="the most entries a symbol and UTC day")
    day_loss: Decimal = Field(
        default=Decimal("0.05"), gt=0, lt=1, description="the loss of a UTC day that ends entries for it"
    )
    drawdown: Decimal = Field(
        default=Decimal("0.20"),
        gt=0,
        lt=1,
        description="the fall from the peak of equity that ends entries until resumed",
    )
    max_exposure: Decimal = Field(
        default=Decimal("2.1"), gt=0, description="the largest exposure, as a multiple of equity"
    )

    @model_validator(mode="after")
    def _every_symbol_has_its_levels(self) -> "ShortSellerParameters":
        for name in ("stop_loss", "take_profit", "trailing_distance", "trailing_from"):
            table: dict[str, Decimal] = getattr(self, name)
            for symbol in self.symbols:
                if symbol not in table:
                    raise ValueError(f"{name} has no value for {symbol}: add one, or take {symbol} out of symbols")
                if not 0 < table[symbol] < 1:
                    raise ValueError(f"{name} of {symbol} must be between 0 and 1, not {table[symbol]}")
        if self.ema_fast >= self.ema_slow:
            raise ValueError(f"ema_fast ({self.ema_fast}) must be below ema_slow ({self.ema_slow})")
        return self
