"""The parameters of Trend."""

from decimal import Decimal

from pydantic import Field

from alpha.strategy.base import Parameters


class TrendParameters(Parameters):
    """Fractions are relative to the entry price unless stated otherwise."""

    symbols: tuple[str, ...] = Field(default=("SOLUSDT", "LTCUSDT"), description="the symbols it trades")
    model: str = Field(default="trend", description="the model whose scores it uses")
    threshold: float = Field(
        default=0.5, description="the score from which it buys: `threshold` in the model's manifest"
    )
    hold_bars: int = Field(default=12, ge=1, description="bars after which it exits: `label.bars` of the model")
    share: Decimal = Field(default=Decimal("0.3"), gt=0, description="notional of a position, as a fraction of equity")
    stop: Decimal = Field(default=Decimal("0.03"), gt=0, lt=1, description="the stop loss below the entry")
    leverage: Decimal = Field(default=Decimal(10), gt=0, description="the leverage set on the exchange")
    day_loss: Decimal = Field(
        default=Decimal("0.05"), gt=0, lt=1, description="the loss of a UTC day that ends entries for it"
    )
