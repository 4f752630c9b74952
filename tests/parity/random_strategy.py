"""A strategy that wants everything, at random from a seed: all intents, several symbols, adds, reverses, targets.

What it wants at a bar depends on the seed, the bar, the symbol and the state of its positions alone, so that the same
strategy live and in a back-test wants the same as long as the same has happened to it.
"""

from decimal import Decimal
from random import Random

from pydantic import Field

from alpha.indicators import sma
from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.bars import Bars, BarView, FloatArray, to_decimal
from alpha.strategy.base import BarContext, Parameters, Strategy, StrategyState, Universe
from alpha.strategy.intents import (
    CancelEntry,
    Enter,
    Exit,
    Intent,
    Limit,
    MoveStop,
    MoveTarget,
    Notional,
    OfEquity,
    Size,
    Target,
    Trailing,
    Trigger,
)
from alpha.strategy.positions import OwnPosition
from alpha.strategy.risk_rules import Action, LossLimit, OpenProfitLimit, Rules, Until, Window

D = Decimal


class RandomParameters(Parameters):
    """The seed, and what is traded."""

    seed: int = Field(default=1, description="the seed of everything it wants")
    symbols: tuple[str, ...] = Field(default=("BTCUSDT", "ETHUSDT"), description="the symbols")


class RandomStrategy(Strategy[RandomParameters, StrategyState]):
    """See the module."""

    parameters_type = RandomParameters
    sees_equity = True

    def __init__(self, parameters: RandomParameters) -> None:
        super().__init__(parameters)
        draw = Random(f"rules {parameters.seed}")
        self._leverage = D(draw.choice((3, 5, 10)))
        self._max_adds = draw.choice((0, 1, 2, 4))
        self._max_positions = draw.choice((None, 1, 2))
        self._cooldown_bars = draw.choice((0, 0, 1, 3))
        self._exposure = draw.choice((None, D("0.8"), D("2")))
        self._limited = draw.random() < 0.3
        self._width = draw.choice((0.5, 1.0, 2.0))
        self._busy = draw.choice((0.3, 0.6, 0.9))

    @property
    def interval(self) -> str:
        """Five minutes."""
        return "5"

    @property
    def history(self) -> int:
        """For the average."""
        return 12

    @property
    def timeframes(self) -> tuple[str, ...]:
        """A quarter of an hour, and for every other seed an hour."""
        return ("15", "60") if self.parameters.seed % 2 else ("15",)

    @property
    def universe(self) -> Universe:
        """A list."""
        return Universe(symbols=self.parameters.symbols)

    @property
    def rules(self) -> Rules:
        """From the seed."""
        limits = (LossLimit(Window.DAY, D("0.004"), Action.NO_ENTRIES, Until.WINDOW_END),) if self._limited else ()
        return Rules(
            leverage=self._leverage,
            adverse_first="low-first",
            cooldown_ms=self._cooldown_bars * 300_000,
            max_positions=self._max_positions,
            max_exposure=self._exposure,
            loss_limits=limits,
            open_profit=OpenProfitLimit(D(60), D("0.5")) if self._limited else None,
            max_adds=self._max_adds,
        )

    def indicators(self, bars: Bars) -> dict[str, FloatArray]:
        """An average."""
        return {"average": sma(bars.close, 10)}

    def evaluate(self, moment: BarContext, state: StrategyState) -> list[Intent]:
        """Draw."""
        wanted: list[Intent] = []
        for symbol, bar in moment.bars.items():
            draw = Random(f"{self.parameters.seed} {moment.bar_ms} {symbol}")
            held = moment.portfolio.positions.get(symbol)
            if held is not None:
                wanted += self._look_after(draw, bar, held)
            if any(order.symbol == symbol for order in moment.portfolio.entries) and draw.random() < 0.1:
                wanted.append(CancelEntry(symbol, draw.choice(("", "limit", "trigger"))))
            if draw.random() < self._busy * 0.5:
                wanted += self._enter(draw, bar, held, moment.portfolio.equity or D(0))
        return wanted

    def _look_after(self, draw: Random, bar: BarView, held: OwnPosition) -> list[Intent]:
        sign, close = held.direction.sign, to_decimal(bar.close)
        what = draw.random()
        if what < 0.06:
            wanted: list[Intent] = [Exit(bar.symbol, Reason.SIGNAL, "drawn")]
            if draw.random() < 0.6:
                wanted.append(self._entry(draw, bar, _other(held.direction), Notional(D(2_000)), market=True))
            return wanted
        if what < 0.14:
            return [Exit(bar.symbol, Reason.SIGNAL, "drawn", fraction=self._fraction(draw, 0.1, 0.9))]
        if what < 0.22:
            at = Limit(close * (1 + sign * self._distance(draw)), post_only=draw.random() < 0.5)
            return [Exit(bar.symbol, Reason.TIME_LIMIT, fraction=self._fraction(draw, 0.2, 1.2), at=at, tag="late")]
        if what < 0.34:
            return [MoveStop(bar.symbol, close * (1 - sign * self._distance(draw)), Reason.BREAK_EVEN)]
        if what < 0.42:
            tag = draw.choice(("", "one", "two", "late"))
            return [MoveTarget(bar.symbol, close * (1 + sign * self._distance(draw)), tag)]
        return []

    def _enter(self, draw: Random, bar: BarView, held: OwnPosition | None, equity: Decimal) -> list[Intent]:
        direction = Direction.LONG if bar.close > bar["average"] else Direction.SHORT
        longest = bar.frame(self.timeframes[-1])
        if longest is not None and draw.random() < 0.5:
            direction = Direction.LONG if longest.close > longest["average"] else Direction.SHORT
        if held is not None and draw.random() < 0.8:
            direction = held.direction
        size: Size = Notional(D(draw.randrange(500, 4_000)))
        if draw.random() < 0.4:
            size = OfEquity(D(draw.randrange(5, 40)) / 1_000 if equity > 0 else D(1))
        count = draw.choice((1, 1, 1, 2, 3))
        return [self._entry(draw, bar, direction, size, market=False) for _ in range(count)]

    def _entry(self, draw: Random, bar: BarView, direction: Direction, size: Size, *, market: bool) -> Enter:
        sign, close = direction.sign, to_decimal(bar.close)
        kind = "market" if market else draw.choice(("market", "limit", "limit", "limit", "trigger"))
        at: Limit | Trigger | None = None
        if kind == "limit":
            at = Limit(close * (1 - sign * self._distance(draw)), post_only=draw.random() < 0.7)
        elif kind == "trigger":
            at = Trigger(close * (1 + draw.choice((-1, 1)) * self._distance(draw)))
        targets: tuple[Target, ...] = ()
        if draw.random() < 0.5:
            shares = draw.choice(((D(1),), (D("0.5"), D("0.5")), (D("0.3"), D("0.4")), (D("0.25"), D("0.75"))))
            names = ("one", "two")
            targets = tuple(
                Target(self._distance(draw) + D("0.0003"), share, name)
                for share, name in zip(shares, names, strict=False)
            )
        return Enter(
            bar.symbol,
            direction,
            size,
            stop=self._distance(draw) + D("0.001"),
            take_profit=self._distance(draw) + D("0.002") if draw.random() < 0.4 else None,
            trailing=Trailing(self._distance(draw) + D("0.001"), self._distance(draw) + D("0.0005"))
            if draw.random() < 0.3
            else None,
            why="drawn",
            at=at,
            valid_bars=draw.choice((1, 2, 5, 12)),
            targets=targets,
            tag=kind,
        )

    def _distance(self, draw: Random) -> Decimal:
        """A fraction of the price, of the order of a bar's range."""
        return D(draw.randrange(0, 60)) / 20_000 * D(str(self._width))

    def _fraction(self, draw: Random, low: float, high: float) -> Decimal:
        return D(round(draw.uniform(low, high), 2)).quantize(D("0.01"))


def _other(direction: Direction) -> Direction:
    return Direction.SHORT if direction is Direction.LONG else Direction.LONG
