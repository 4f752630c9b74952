"""A strategy that buys where a model's score is high, and leaves after some bars."""

from decimal import Decimal

from pydantic import Field

from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.bars import Bars, FloatArray
from alpha.strategy.base import BarContext, Parameters, Strategy, StrategyState, Universe
from alpha.strategy.intents import Enter, Exit, Intent, OfEquity
from alpha.strategy.risk_rules import Rules

MODEL = "proof"


class ScoredParameters(Parameters):
    """From which score it buys, and for how long."""

    symbols: tuple[str, ...] = ("SOLUSDT", "LTCUSDT")
    threshold: float = Field(default=0.5, description="the score from which it buys")
    hold_bars: int = 12


class Scored(Strategy[ScoredParameters, StrategyState]):
    """See the module docstring."""

    parameters_type = ScoredParameters

    @property
    def interval(self) -> str:
        return "5"

    @property
    def history(self) -> int:
        return 2

    @property
    def models(self) -> tuple[str, ...]:
        return (MODEL,)

    @property
    def universe(self) -> Universe:
        return Universe(symbols=self.parameters.symbols)

    @property
    def rules(self) -> Rules:
        return Rules(leverage=Decimal(10), adverse_first="low-first")

    def indicators(self, bars: Bars) -> dict[str, FloatArray]:
        return {}

    def evaluate(self, moment: BarContext, state: StrategyState) -> list[Intent]:
        """Wants to enter on a missing score too, which the runtime must not let through."""
        intents: list[Intent] = []
        for symbol, bar in moment.bars.items():
            position = moment.portfolio.positions.get(symbol)
            if position is not None:
                if position.held_ms(moment.close_ms) >= self.parameters.hold_bars * 300_000:
                    intents.append(Exit(symbol, Reason.TIME_LIMIT, "held long enough"))
                continue
            score = bar.score(MODEL)
            if score.value is None or score.value >= self.parameters.threshold:
                size = OfEquity(Decimal("0.4"))
                intents.append(Enter(symbol, Direction.LONG, size, Decimal("0.03"), why=f"score {score.value}"))
        return intents
