"""ShortSeller: shorts of a few large coins when a 5-minute bar crosses below one of two averages in a falling market."""

from collections.abc import Mapping
from math import ceil
from typing import Any, overload

import numpy as np

from alpha.indicators import bars_of_history, ema, ema_warm_up
from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.arrays import ArrayRules, Levels
from alpha.strategy.bars import Bars, BarView, BoolArray, FloatArray, Series
from alpha.strategy.base import BarContext, Strategy, StrategyState, Universe
from alpha.strategy.intents import Enter, Exit, Intent, OfEquity, Trailing
from alpha.strategy.positions import OwnPosition
from alpha.strategy.risk_rules import Action, LossLimit, Rules, Until, Window
from strategies.shortseller.parameters import ShortSellerParameters

INTERVAL = "5"
INTERVAL_MS = 300_000
HOUR_MS = 3_600_000
FAST = "ema_fast"
SLOW = "ema_slow"


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
        """Where a bar closes below both averages and the bar before did not close below one of them."""
        close, fast, slow = series.bars.close, series.indicators[FAST], series.indicators[SLOW]
        result = np.zeros(len(close), dtype=np.bool_)
        crossed = (close[:-1] >= fast[:-1]) | (close[:-1] >= slow[:-1])
        result[1:] = _falling(close, series.indicators)[1:] & crossed
        return result

    def arrays(self, series: Mapping[str, Series]) -> ArrayRules | None:
        """The same rules as `evaluate`, over all bars."""
        own = self.parameters
        leaves = {}
        for symbol, one in series.items():
            leaves[symbol] = ~_falling(one.bars.close, one.indicators)
        return ArrayRules(
            direction=Direction.SHORT,
            size=OfEquity(own.margin * own.leverage),
            enters={symbol: self.may_enter(one) for symbol, one in series.items()},
            leaves=leaves,
            levels={
                symbol: Levels(
                    own.stop_loss[symbol],
                    own.take_profit[symbol],
                    Trailing(distance=own.trailing_distance[symbol], activation=own.trailing_from[symbol]),
                )
                for symbol in series
            },
            enter=lambda bar: self._enter(bar.symbol, bar),
            leave=self._leave,
            leaves_after_ms=self._regime_exit_after_ms,
            time_limit_ms=self._time_limit_ms,
        )

    def evaluate(self, moment: BarContext, state: StrategyState) -> list[Intent]:
        """Exits of what is held, then an entry in every symbol that crosses."""
        intents: list[Intent] = []
        for symbol, bar in moment.bars.items():
            position = moment.portfolio.positions.get(symbol)
            if position is not None:
                leave = self._exit(position, bar, moment.close_ms)
                if leave is not None:
                    intents.append(leave)
            elif symbol in self.parameters.symbols and self.enters(bar):
                intents.append(self._enter(symbol, bar))
        return intents

    @property
    def _regime_exit_after_ms(self) -> int:
        return ceil(self.parameters.regime_exit_after_hours * HOUR_MS)

    @property
    def _time_limit_ms(self) -> int:
        return ceil(self.parameters.time_limit_hours * HOUR_MS)

    def _exit(self, position: OwnPosition, bar: BarView, close_ms: int) -> Exit | None:
        held_ms = position.held_ms(close_ms)
        rose = held_ms >= self._regime_exit_after_ms and not _falling(bar.close, bar)
        return self._leave(held_ms, bar) if rose or held_ms >= self._time_limit_ms else None

    def _leave(self, held_ms: int, bar: BarView) -> Exit:
        if held_ms >= self._time_limit_ms:
            return Exit(bar.symbol, Reason.TIME_LIMIT, f"held for {held_ms / HOUR_MS:.1f} h")
        return Exit(bar.symbol, Reason.REGIME_CHANGE, f"closed at {bar.close} above an average")

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


@overload
def _falling(close: float, averages: BarView) -> bool: ...
@overload
def _falling(close: FloatArray, averages: Mapping[str, FloatArray]) -> BoolArray: ...
def _falling(close: Any, averages: Any) -> Any:
    """The regime ACTIVE, of one bar or of all: closed below both averages."""
    return (close < averages[FAST]) & (close < averages[SLOW])
