"""Parameters of Momentum, with their defaults and units."""

from decimal import Decimal
from typing import Annotated

from pydantic import Field, model_validator

from alpha.strategy.base import Parameters

BTC = "BTCUSDT"
#: Liquid USDT perpetuals on Bybit.
SYMBOLS = (
    "BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT", "BNBUSDT", "ADAUSDT", "AVAXUSDT", "LINKUSDT", "LTCUSDT",
    "DOTUSDT", "BCHUSDT", "NEARUSDT", "UNIUSDT", "AAVEUSDT", "ATOMUSDT", "FILUSDT", "INJUSDT", "ETCUSDT", "HBARUSDT",
    "TRXUSDT", "XLMUSDT", "ICPUSDT", "CRVUSDT", "FETUSDT", "GRTUSDT", "ALGOUSDT", "VETUSDT", "STXUSDT", "THETAUSDT",
    "IOTAUSDT", "CAKEUSDT", "SHIB1000USDT",
)  # fmt: skip
Fraction = Annotated[Decimal, Field(gt=0, lt=1)]


class MomentumParameters(Parameters):
    """What can be set. Fractions are of 1: 0.05 is 5 %."""

    symbols: tuple[str, ...] = Field(default=SYMBOLS, min_length=1, description="the symbols it follows")
    bands_period: int = Field(default=20, ge=2, description="bars of the Bollinger bands and of their middle, the SMA")
    bands_deviations: float = Field(default=2.0, gt=0, description="sample deviations between the middle and a band")
    width_lookback: int = Field(default=89, ge=1, description="earlier band widths that the newest is ranked among")
    max_width_percentile: float = Field(
        default=0.35, gt=0, le=1, description="enter only where the share of narrower widths is below"
    )
    volume_period: int = Field(default=20, ge=1, description="bars of the mean volume, before the bar")
    min_relative_volume: float = Field(default=2.0, gt=0, description="enter only where volume over its mean is above")
    stop: Fraction = Field(
        default=Decimal("0.10"), description="the stop's distance below the entry, then below the highest high"
    )
    risk: Fraction = Field(
        default=Decimal("0.05"), description="share of equity lost at the stop; with the stop it gives the size"
    )
    max_size: Annotated[Decimal, Field(gt=0, le=10)] = Field(
        default=Decimal("0.20"), description="largest notional, of equity"
    )
    max_positions: int = Field(default=3, ge=1, description="positions held at the same time")
    leverage: Decimal = Field(default=Decimal(2), ge=1, description="leverage, cross margin")
    btc_filter: bool = Field(
        default=False, description="enter only while BTC trends upwards: daily close above its SMA, ADX high"
    )
    btc_sma_days: int = Field(default=200, ge=2, description="days of the BTC filter's SMA")
    btc_adx_days: int = Field(default=14, ge=2, description="days of the BTC filter's ADX")
    btc_min_adx: float = Field(default=25.0, ge=0, lt=100, description="the BTC filter needs an ADX above this")
    day_loss: Fraction = Field(default=Decimal("0.03"), description="loss of a UTC day that ends its entries")
    week_loss: Fraction = Field(
        default=Decimal("0.08"), description="loss of a week that halves the size until its end"
    )
    month_loss: Fraction = Field(
        default=Decimal("0.15"), description="loss of a month that halts entries until resumed by hand"
    )
    drawdown: Fraction = Field(default=Decimal("0.20"), description="drawdown that halts entries until resumed by hand")

    @model_validator(mode="after")
    def _filter_sees_btc(self) -> "MomentumParameters":
        if self.btc_filter and BTC not in self.symbols:
            raise ValueError(f"btc_filter needs {BTC} among the symbols: add it, or switch the filter off")
        return self
