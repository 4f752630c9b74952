"""A strategy with predictable trades: it enters when flat, and exits or moves its stop after some bars."""

import time
from decimal import Decimal
from pathlib import Path

import numpy as np
from pydantic import Field

from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.bars import Bars, FloatArray, to_decimal
from alpha.strategy.base import BarContext, Parameters, Strategy, StrategyState, Universe
from alpha.strategy.intents import Enter, Exit, Intent, MoveStop, Notional
from alpha.strategy.risk_rules import Action, LossLimit, Rules, Until, Window


class ToyParameters(Parameters):
    """The strategy's actions and their timing."""

    symbols: tuple[str, ...] = Field(default=("BTCUSDT",), description="the symbols")
    direction: Direction = Field(default=Direction.SHORT, description="Buy or Sell")
    notional: Decimal = Field(default=Decimal(10_000), description="the size in USDT")
    stop: Decimal = Field(default=Decimal("0.05"), description="the stop loss, a fraction")
    hold_bars: int = Field(default=3, description="after how many bars it exits")
    entries: int = Field(default=1_000, description="the most entries")
    move_stop_after: int = Field(default=0, description="after how many bars the stop moves; never when 0")
    move_stop_to: Decimal = Field(default=Decimal("0.01"), description="where it moves, a fraction beyond the close")
    day_loss: Decimal = Field(default=Decimal("0.5"), description="the loss of a day that ends entries")


class ToyState(StrategyState):
    """Number of entry attempts."""

    entries: int = 0


class Toy(Strategy[ToyParameters, ToyState]):
    """See the module docstring."""

    parameters_type = ToyParameters
    state_type = ToyState

    @property
    def interval(self) -> str:
        """Five minutes."""
        return "5"

    @property
    def history(self) -> int:
        """Ten bars."""
        return 10

    @property
    def universe(self) -> Universe:
        """A list."""
        return Universe(symbols=self.parameters.symbols)

    @property
    def rules(self) -> Rules:
        """One loss limit."""
        limit = LossLimit(Window.DAY, self.parameters.day_loss, Action.NO_ENTRIES, Until.WINDOW_END)
        return Rules(leverage=Decimal(10), adverse_first="high-first", loss_limits=(limit,))

    def indicators(self, bars: Bars) -> dict[str, FloatArray]:
        """None."""
        return {}

    def evaluate(self, moment: BarContext, state: ToyState) -> list[Intent]:
        """Exit after `hold_bars`, else move the stop, else enter."""
        own = self.parameters
        intents: list[Intent] = []
        for symbol, bar in moment.bars.items():
            position = moment.portfolio.positions.get(symbol)
            if position is None:
                if state.entries < own.entries:
                    state.entries += 1
                    intents.append(Enter(symbol, own.direction, Notional(own.notional), own.stop, why="flat"))
                continue
            bars_held = position.held_ms(moment.close_ms) // (moment.close_ms - moment.bar_ms)
            if bars_held >= own.hold_bars:
                intents.append(Exit(symbol, Reason.TIME_LIMIT, f"held for {bars_held} bars"))
            elif own.move_stop_after and bars_held >= own.move_stop_after:
                price = to_decimal(bar.close) * (1 - position.direction.sign * own.move_stop_to)
                intents.append(MoveStop(symbol, price, Reason.TRAILING_STOP, "moved by the toy"))
        return intents


class HangingParameters(ToyParameters):
    """When it hangs, and the file that says that it has done so."""

    hang_at_entries: int = Field(default=2, description="it hangs, once, when it has tried so many entries")
    marker: str = Field(default="", description="made when it hangs")
    how: str = Field(default="hang", description="hang, raise or exit")


class HangingToy(Toy):
    """A toy whose code hangs, raises or ends its process, once."""

    parameters_type = HangingParameters

    def evaluate(self, moment: BarContext, state: ToyState) -> list[Intent]:
        """As the toy, but for that one time."""
        own = self.parameters
        assert isinstance(own, HangingParameters)
        if state.entries >= own.hang_at_entries and not Path(own.marker).exists():
            Path(own.marker).touch()
            if own.how == "raise":
                raise ValueError("the toy's own fault")
            if own.how == "exit":
                raise SystemExit(3)
            time.sleep(3_600)
        return super().evaluate(moment, state)


class MeasuringToy(Toy):
    """A toy with indicators: a price, a ratio, one on a further timeframe, and one that never has a finite value."""

    @property
    def timeframes(self) -> tuple[str, ...]:
        """A quarter of an hour."""
        return ("15",)

    def indicators(self, bars: Bars) -> dict[str, FloatArray]:
        """`mean` of high and low, `up` (1 or 0), `never`."""
        return {
            "mean": (bars.high + bars.low) / 2,
            "up": (bars.close > bars.open).astype(np.float64),
            "never": np.full(len(bars), np.inf),
        }
