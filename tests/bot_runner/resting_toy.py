"""A strategy whose resting orders a test can foretell: one entry away from the market, with targets."""

from decimal import Decimal

from pydantic import Field

from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.bars import Bars, FloatArray, to_decimal
from alpha.strategy.base import BarContext, Parameters, Strategy, StrategyState, Universe
from alpha.strategy.intents import Enter, Exit, Intent, Limit, Notional, Target, Trigger
from alpha.strategy.risk_rules import Rules


class RestingParameters(Parameters):
    """What it does and when."""

    symbols: tuple[str, ...] = Field(default=("BTCUSDT",), description="the symbols")
    below: Decimal = Field(default=Decimal("0.05"), description="how far below the close it buys; a trigger: above")
    trigger: bool = Field(default=False, description="a trigger instead of a limit")
    post_only: bool = Field(default=True, description="the limit order only waits, and takes nothing")
    valid_bars: int = Field(default=50, description="for how many bars the entry rests")
    stop: Decimal = Field(default=Decimal("0.03"), description="the stop loss, a fraction")
    target: Decimal = Field(
        default=Decimal("0.02"), description="the first target's distance; the second's is twice that"
    )
    notional: Decimal = Field(default=Decimal(10_000), description="the size in USDT")
    entries: int = Field(default=1, description="the most entries")
    halve_after: int = Field(default=0, description="after how many bars a half is closed; never when 0")


class RestingState(StrategyState):
    """How often it has wanted to enter, and whether it has halved its position."""

    entries: int = 0
    halved: bool = False


class RestingToy(Strategy[RestingParameters, RestingState]):
    """See the module."""

    parameters_type = RestingParameters
    state_type = RestingState

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
        """None."""
        return Rules(leverage=Decimal(10), adverse_first="low-first")

    def indicators(self, bars: Bars) -> dict[str, FloatArray]:
        """None."""
        return {}

    def evaluate(self, moment: BarContext, state: RestingState) -> list[Intent]:
        """Enter while flat and nothing rests; halve what is held once."""
        own = self.parameters
        intents: list[Intent] = []
        for symbol, bar in moment.bars.items():
            held = moment.portfolio.positions.get(symbol)
            if held is not None:
                bars_held = held.held_ms(moment.close_ms) // 300_000
                if own.halve_after and bars_held >= own.halve_after and not state.halved:
                    state.halved = True
                    intents.append(Exit(symbol, Reason.TIME_LIMIT, "half", fraction=Decimal("0.5"), tag="half"))
                continue
            if state.entries >= own.entries or moment.portfolio.entries:
                continue
            state.entries += 1
            close = to_decimal(bar.close)
            at = (
                Trigger(close * (1 + own.below))
                if own.trigger
                else Limit(close * (1 - own.below), post_only=own.post_only)
            )
            targets = (
                Target(own.target, Decimal("0.5"), "first"),
                Target(own.target * 2, Decimal("0.5"), "second"),
            )
            intents.append(
                Enter(
                    symbol,
                    Direction.LONG,
                    Notional(own.notional),
                    own.stop,
                    why="away from the market",
                    at=at,
                    valid_bars=own.valid_bars,
                    targets=targets,
                    tag="dip",
                )
            )
        return intents
