"""ShortSeller: shorts of a few large coins when a 5-minute bar crosses below one of two averages in a falling market."""

from decimal import Decimal

import numpy as np
from pydantic import Field, model_validator

from alpha.indicators import bars_of_history, ema, ema_warm_up
from alpha.reasons import Reason
from alpha.strategy.bars import Bars, BarView, BoolArray, FloatArray, Series
from alpha.strategy.contract import Moment, Parameters, Strategy, StrategyState, Universe
from alpha.strategy.intents import Direction, Enter, Exit, Intent, OfEquity, Trailing
from alpha.strategy.positions import OwnPosition
from alpha.strategy.rules import Action, LossLimit, Rules, Until, Window

INTERVAL = "5"
INTERVAL_MS = 300_000
HOUR_MS = 3_600_000
FAST = "ema_fast"
SLOW = "ema_slow"


class ShortSellerParameters(Parameters):
    """Fractions are of the entry price unless said otherwise; tables are by symbol."""

    symbols: tuple[str, ...] = Field(("BTCUSDT", "ETHUSDT", "SOLUSDT"), description="the symbols it trades")
    ema_fast: int = Field(240, ge=2, description="period of the fast average, in bars")
    ema_slow: int = Field(600, ge=2, description="period of the slow average, in bars")
    margin: Decimal = Field(Decimal("0.07"), gt=0, le=1, description="margin of one position, as a fraction of equity")
    leverage: Decimal = Field(Decimal(10), ge=1, description="leverage")
    stop_loss: dict[str, Decimal] = Field(
        {"BTCUSDT": Decimal("0.010"), "ETHUSDT": Decimal("0.015"), "SOLUSDT": Decimal("0.015")},
        description="the stop loss above the entry, by symbol",
    )
    take_profit: dict[str, Decimal] = Field(
        {"BTCUSDT": Decimal("0.030"), "ETHUSDT": Decimal("0.045"), "SOLUSDT": Decimal("0.060")},
        description="the take profit below the entry, by symbol",
    )
    trailing_distance: dict[str, Decimal] = Field(
        {"BTCUSDT": Decimal("0.01"), "ETHUSDT": Decimal("0.02"), "SOLUSDT": Decimal("0.02")},
        description="the distance of the trailing stop, by symbol",
    )
    trailing_from: dict[str, Decimal] = Field(
        {"BTCUSDT": Decimal("0.02"), "ETHUSDT": Decimal("0.02"), "SOLUSDT": Decimal("0.03")},
        description="the gain from which the trailing stop works, by symbol",
    )
    time_limit_hours: Decimal = Field(Decimal(24), gt=0, description="the longest holding time, in hours")
    regime_exit_after_hours: Decimal = Field(
        Decimal(1), ge=0, description="the holding time after which the end of the falling market closes, in hours"
    )
    cooldown_hours: Decimal = Field(Decimal(1), ge=0, description="the pause after an exit, a symbol, in hours")
    entries_per_day: int = Field(12, ge=1, description="the most entries a symbol and UTC day")
    day_loss: Decimal = Field(Decimal("0.05"), gt=0, lt=1, description="the loss of a UTC day that ends entries for it")
    drawdown: Decimal = Field(
        Decimal("0.20"), gt=0, lt=1, description="the fall from the peak of equity that ends entries until resumed"
    )
    max_exposure: Decimal = Field(Decimal("2.1"), gt=0, description="the largest exposure, as a multiple of equity")

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


class ShortSeller(Strategy[ShortSellerParameters, StrategyState]):
    """The rules; README.md tells the idea behind them."""

    parameters_type = ShortSellerParameters

    @property
    def interval(self) -> str:
        """5-minute bars."""
        return INTERVAL

    @property
    def history(self) -> int:
        """The slow average's warm-up, a day, and the bar before."""
        return bars_of_history(ema_warm_up(self.parameters.ema_slow), INTERVAL_MS) + 1

    @property
    def universe(self) -> Universe:
        """A fixed list."""
        return Universe(symbols=self.parameters.symbols)

    @property
    def rules(self) -> Rules:
        """Cooldown, entries a day, exposure, loss of the day, drawdown."""
        own = self.parameters
        return Rules(
            leverage=own.leverage,
            adverse_first="high-first",
            cooldown_ms=int(own.cooldown_hours * HOUR_MS),
            entries_per_day=own.entries_per_day,
            max_exposure=own.max_exposure,
            loss_limits=(
                LossLimit(Window.DAY, own.day_loss, Action.NO_ENTRIES, Until.WINDOW_END),
                LossLimit(Window.DRAWDOWN, own.drawdown, Action.NO_ENTRIES, Until.RESUMED),
            ),
        )

    def indicators(self, bars: Bars) -> dict[str, FloatArray]:
        """Both averages of the closes."""
        first_ms = int(bars.start_ms[0]) if len(bars) else 0
        own = self.parameters
        return {
            FAST: ema(bars.close, own.ema_fast, first_ms, bars.interval_ms),
            SLOW: ema(bars.close, own.ema_slow, first_ms, bars.interval_ms),
        }

    def may_enter(self, series: Series) -> BoolArray:
        """Where the entry rule holds; the same comparison as `_crosses`, over all bars."""
        close, fast, slow = series.bars.close, series.indicators[FAST], series.indicators[SLOW]
        below_fast, below_slow = close < fast, close < slow
        result = np.zeros(len(close), dtype=np.bool_)
        crossed = (below_fast[1:] & (close[:-1] >= fast[:-1])) | (below_slow[1:] & (close[:-1] >= slow[:-1]))
        result[1:] = below_fast[1:] & below_slow[1:] & crossed
        return result

    def evaluate(self, moment: Moment, state: StrategyState) -> list[Intent]:
        """Exits of what is held, then an entry in every symbol that crosses."""
        intents: list[Intent] = []
        for symbol, bar in moment.bars.items():
            position = moment.portfolio.positions.get(symbol)
            if position is not None:
                leave = self._exit(position, bar, moment.close_ms)
                if leave is not None:
                    intents.append(leave)
            elif symbol in self.parameters.symbols and _falling(bar) and _crosses(bar):
                intents.append(self._enter(symbol, bar))
        return intents

    def _exit(self, position: OwnPosition, bar: BarView, close_ms: int) -> Exit | None:
        own = self.parameters
        held_ms = position.held_ms(close_ms)
        if held_ms >= own.time_limit_hours * HOUR_MS:
            return Exit(position.symbol, Reason.TIME_LIMIT, f"held for {held_ms / HOUR_MS:.1f} h")
        if held_ms >= own.regime_exit_after_hours * HOUR_MS and not _falling(bar):
            return Exit(position.symbol, Reason.REGIME_CHANGE, f"closed at {bar.close} above an average")
        return None

    def _enter(self, symbol: str, bar: BarView) -> Enter:
        own = self.parameters
        return Enter(
            symbol=symbol,
            direction=Direction.SHORT,
            size=OfEquity(own.margin * own.leverage),
            stop=own.stop_loss[symbol],
            take_profit=own.take_profit[symbol],
            trailing=Trailing(distance=own.trailing_distance[symbol], activation=own.trailing_from[symbol]),
            why=f"closed at {bar.close}, below {bar[FAST]:.6g} and {bar[SLOW]:.6g}",
        )


def _falling(bar: BarView) -> bool:
    """The regime ACTIVE: closed below both averages."""
    return bar.close < bar[FAST] and bar.close < bar[SLOW]


def _crosses(bar: BarView) -> bool:
    """Closed below an average that the bar before did not close below."""
    before = bar.before()
    if before is None:
        return False
    return (bar.close < bar[FAST] and before.close >= before[FAST]) or (
        bar.close < bar[SLOW] and before.close >= before[SLOW]
    )
