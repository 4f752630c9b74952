"""Parameters of LXAlgo, with their defaults and units."""

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from alpha.strategy.base import Parameters

Fraction = Annotated[Decimal, Field(gt=0, lt=1)]
Positive = Annotated[Decimal, Field(gt=0)]


class LXAlgoParameters(Parameters):
    """What can be set. Fractions are of 1 (0.08 is 8 %); a name that ends in `_pct` is in percent."""

    symbols: tuple[str, ...] = Field(default=(), description="the symbols it follows; empty: all with enough turnover")
    min_turnover_usdt: Decimal = Field(
        default=Decimal(10_000_000), ge=0, description="least turnover of 24 hours, in USDT"
    )
    refresh_hours: int = Field(default=4, ge=1, le=24, description="hours between two looks at the turnover")
    rsi_period: int = Field(default=84, ge=2, description="bars of Wilder's RSI")
    lookback: int = Field(default=144, ge=2, description="bars of volatility, price change and volume change")
    pump_bars: int = Field(default=12, ge=1, description="bars over which a pump is measured")
    min_pump_pct: float = Field(
        default=8.0, gt=0, description="rise over the pump's bars that makes a signal, in percent"
    )
    score_rsi: float = Field(default=60.0, ge=0, le=100, description="an RSI above this scores")
    score_volume_pct: float = Field(default=50.0, description="a volume change above this scores, in percent")
    score_spread_pct: float = Field(default=3.0, gt=0, description="a bar's spread below this scores, in percent")
    score_volatility_pct: float = Field(default=0.005, ge=0, description="a volatility above this scores, in percent")
    score_price_pct: float = Field(default=5.0, description="a price change above this scores, in percent")
    rule8_score: int = Field(default=2, ge=0, le=5, description="rule 8 needs this score")
    rule8_spread_pct: float = Field(default=4.0, gt=0, description="rule 8 needs a spread below this, in percent")
    rule6_rsi: float = Field(default=55.0, ge=0, le=100, description="rule 6 needs an RSI above this")
    rule6_volatility_pct: float = Field(
        default=0.008, ge=0, description="rule 6 needs a volatility above this, in percent"
    )
    bucket_hours: int = Field(
        default=4, ge=1, le=24, description="a symbol is bought at most once in each such span of UTC hours"
    )
    max_positions: int = Field(default=20, ge=1, description="positions held at the same time")
    size_usdt: Positive = Field(default=Decimal(200), description="notional of a position, in USDT")
    stop: Fraction = Field(default=Decimal("0.08"), description="the stop's distance below the entry")
    take_profit: Positive = Field(default=Decimal("0.30"), description="the target's distance above the entry")
    trailing_activation: Positive = Field(default=Decimal("0.20"), description="the gain from which the stop trails")
    trailing_distance: Fraction = Field(
        default=Decimal("0.10"), description="the trailing distance, of the entry price"
    )
    break_even: Positive = Field(default=Decimal("0.08"), description="the gain that moves the stop to break-even")
    taker_fee: Decimal = Field(
        default=Decimal("0.00055"), ge=0, lt=1, description="the fee of a market order, of its value"
    )
    losing_hours: int = Field(default=8, ge=1, description="hours after which a position below its entry is closed")
    max_hours: int = Field(default=72, ge=1, description="hours after which a position is closed")
    leverage: Decimal = Field(default=Decimal(10), ge=1, description="leverage, cross margin")
    day_loss: Fraction = Field(
        default=Decimal("0.02"), description="loss of a UTC day that closes all until the next one"
    )
    week_half_loss: Fraction = Field(default=Decimal("0.04"), description="loss of a week that halves the size")
    week_loss: Fraction = Field(default=Decimal("0.06"), description="loss of a week that closes all until Monday")
    open_profit_arm: Positive = Field(
        default=Decimal(2), description="open profit that arms the lock, in sizes of a position"
    )
    open_profit_give_back: Fraction = Field(
        default=Decimal("0.30"), description="share of the open profit's peak that may go"
    )
