"""A strategy that looks at everything there is beside its candles, and decides by every bit of it.

What it wants is drawn from the text of all values it sees, so that one that differs in its last digit trades differently.
"""

from decimal import Decimal
from random import Random

import numpy as np

from alpha.indicators import sma
from alpha.model.money import ZERO
from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.auxiliary import FUNDING_RATE, MINUTE_MS, OPEN_INTEREST, Column
from alpha.strategy.bars import Bars, FloatArray
from alpha.strategy.base import BarContext, Parameters, Strategy, StrategyState, Universe
from alpha.strategy.intents import Enter, Exit, Intent, OfEquity
from alpha.strategy.risk_rules import Rules

MOOD = Column("mood", 7 * MINUTE_MS, max_age_ms=120 * MINUTE_MS, per_symbol=False)
FLOW = Column("flow", 0)
REFERENCE = "BTCUSDT"


class SeeingParameters(Parameters):
    """Two symbols, and a third that is looked at alone."""

    symbols: tuple[str, ...] = ("ETHUSDT", "SOLUSDT")


class Seeing(Strategy[SeeingParameters, StrategyState]):
    """See the module docstring."""

    parameters_type = SeeingParameters
    sees_equity = True

    @property
    def interval(self) -> str:
        return "5"

    @property
    def timeframes(self) -> tuple[str, ...]:
        return ("15",)

    @property
    def history(self) -> int:
        return 24

    @property
    def references(self) -> tuple[str, ...]:
        return (REFERENCE,)

    @property
    def columns(self) -> tuple[Column, ...]:
        return (FUNDING_RATE, OPEN_INTEREST, MOOD, FLOW)

    @property
    def universe(self) -> Universe:
        return Universe(symbols=self.parameters.symbols)

    @property
    def rules(self) -> Rules:
        return Rules(leverage=Decimal(10), adverse_first="low-first")

    def indicators(self, bars: Bars) -> dict[str, FloatArray]:
        """The spread to the reference, and each column."""
        ratio = np.log(bars.close) - np.log(bars.reference(REFERENCE).close)
        return {"spread": ratio - sma(ratio, 12), **{one.name: bars.column(one.name) for one in self.columns}}

    def evaluate(self, moment: BarContext, state: StrategyState) -> list[Intent]:
        intents: list[Intent] = []
        account = moment.portfolio
        for symbol, bar in moment.bars.items():
            frame = bar.frame("15")
            seen = [bar[name] for name in bar.series.indicators]
            seen += [] if frame is None else [frame[name] for name in frame.series.indicators]
            draw = Random(
                f"{symbol} {seen!r} {(account.equity or ZERO).normalize():f} {(account.open_profit or ZERO).normalize():f}"
            )
            if symbol in account.positions:
                if draw.random() < 0.2:
                    intents.append(Exit(symbol, Reason.SIGNAL, "drawn"))
            elif draw.random() < 0.3:
                direction = Direction.LONG if draw.random() < 0.5 else Direction.SHORT
                size = OfEquity(Decimal(draw.randrange(50, 300)) / 1_000)
                intents.append(Enter(symbol, direction, size, Decimal("0.02"), why="drawn"))
        return intents
