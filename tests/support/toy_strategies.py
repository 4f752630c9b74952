"""Small strategies and markets with known expected results."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from pydantic import Field

from alpha.indicators import Floats, sma
from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.arrays import ArrayRules, Levels
from alpha.strategy.bars import Bars, BoolArray, FloatArray, Series
from alpha.strategy.base import BarContext, Parameters, Strategy, StrategyState, Universe
from alpha.strategy.intents import Enter, Exit, Intent, MoveStop, Notional, OfEquity, Size, Trailing
from alpha.strategy.risk_rules import Rules
from backtester.candles import end_ms, first_ms
from backtester.engine import run
from backtester.funding import Funding, constant_funding
from backtester.instruments import fitting_instrument
from backtester.market import MarketData
from backtester.prepared import BacktestConfig
from backtester.result import Result
from backtester.venue import Costs

HOUR_MS = 3_600_000
START_MS = 1_704_067_200_000  # 2024-01-01, a Monday
FREE = Costs(Decimal(0), Decimal(0))
Candle = tuple[float, float, float, float]


class ScriptParameters(Parameters):
    """Actions of a scripted strategy: the index of the bar whose close triggers each."""

    symbols: tuple[str, ...] = ("XUSDT",)
    enter: tuple[int, ...] = ()
    leave: tuple[int, ...] = ()
    moves: dict[int, Decimal] = Field(default_factory=dict)
    short: bool = False
    usdt: Decimal = Decimal(1000)
    of_equity: Decimal | None = None
    stop: Decimal = Decimal("0.10")
    take_profit: Decimal | None = None
    trailing: Decimal | None = None
    activation: Decimal = Decimal("0.02")
    leverage: Decimal = Decimal(10)


class Scripted(Strategy[ScriptParameters, StrategyState]):
    """Executes its script, bar by bar, in every symbol."""

    parameters_type = ScriptParameters
    account: Rules | None = None

    @property
    def interval(self) -> str:
        return "60"

    @property
    def history(self) -> int:
        return 1

    @property
    def universe(self) -> Universe:
        return Universe(self.parameters.symbols)

    @property
    def rules(self) -> Rules:
        if self.account is not None:
            return self.account
        return Rules(self.parameters.leverage, "high-first" if self.parameters.short else "low-first")

    def indicators(self, bars: Bars) -> dict[str, FloatArray]:
        return {}

    def may_enter(self, series: Series) -> BoolArray:
        numbers = (series.bars.start_ms - START_MS) // HOUR_MS
        return np.isin(numbers, self.parameters.enter)

    def evaluate(self, moment: BarContext, state: StrategyState) -> list[Intent]:
        p = self.parameters
        number = (moment.bar_ms - START_MS) // HOUR_MS
        intents: list[Intent] = []
        for symbol in moment.bars:
            if symbol in moment.portfolio.positions:
                if number in p.leave:
                    intents.append(Exit(symbol, Reason.SIGNAL))
                elif number in p.moves:
                    intents.append(MoveStop(symbol, p.moves[number], Reason.BREAK_EVEN))
            elif number in p.enter:
                size: Size = Notional(p.usdt) if p.of_equity is None else OfEquity(p.of_equity)
                trailing = None if p.trailing is None else Trailing(p.trailing, p.activation)
                direction = Direction.SHORT if p.short else Direction.LONG
                intents.append(Enter(symbol, direction, size, p.stop, p.take_profit, trailing))
        return intents


class CrossingParameters(Parameters):
    """Two simple moving averages; amounts in USDT, levels as fractions of the entry price."""

    symbols: tuple[str, ...] = ("XUSDT",)
    fast: int = 5
    slow: int = 20
    usdt: Decimal = Decimal(1000)
    stop: Decimal = Decimal("0.03")
    take_profit: Decimal | None = Decimal("0.06")


class Crossing(Strategy[CrossingParameters, StrategyState]):
    """Long while the fast average is above the slow one: enters at the upward crossing, exits at the downward one."""

    parameters_type = CrossingParameters
    minutes = 60

    @property
    def interval(self) -> str:
        return str(self.minutes)

    @property
    def history(self) -> int:
        return self.parameters.slow + 1

    @property
    def universe(self) -> Universe:
        return Universe(self.parameters.symbols)

    @property
    def rules(self) -> Rules:
        return Rules(Decimal(10), "low-first")

    def indicators(self, bars: Bars) -> dict[str, FloatArray]:
        return {"fast": sma(bars.close, self.parameters.fast), "slow": sma(bars.close, self.parameters.slow)}

    def may_enter(self, series: Series) -> BoolArray:
        above = series.indicators["fast"] > series.indicators["slow"]
        crosses = np.zeros(len(above), dtype=np.bool_)
        crosses[1:] = above[1:] & ~above[:-1]
        return crosses

    def arrays(self, series: Mapping[str, Series]) -> ArrayRules | None:
        p = self.parameters
        enters, leaves = {}, {}
        for symbol, one in series.items():
            known = np.zeros(len(one.bars), dtype=np.bool_)
            known[1:] = one.ready[:-1]
            enters[symbol] = self.may_enter(one) & known
            leaves[symbol] = ~(one.indicators["fast"] > one.indicators["slow"]) & known
        return ArrayRules(
            direction=Direction.LONG,
            size=Notional(p.usdt),
            enters=enters,
            leaves=leaves,
            levels=dict.fromkeys(series, Levels(p.stop, p.take_profit)),
            enter=lambda bar: Enter(bar.symbol, Direction.LONG, Notional(p.usdt), p.stop, p.take_profit),
            leave=lambda _held_ms, bar: Exit(bar.symbol, Reason.SIGNAL),
        )

    def evaluate(self, moment: BarContext, state: StrategyState) -> list[Intent]:
        intents: list[Intent] = []
        for symbol, bar in moment.bars.items():
            before = bar.before()
            if before is None or not before.ready:
                continue
            above, was_above = bar["fast"] > bar["slow"], before["fast"] > before["slow"]
            if symbol in moment.portfolio.positions:
                if not above:
                    intents.append(Exit(symbol, Reason.SIGNAL))
            elif above and not was_above:
                p = self.parameters
                intents.append(Enter(symbol, Direction.LONG, Notional(p.usdt), p.stop, p.take_profit))
        return intents


def bars_of(
    candles: Sequence[Candle], symbol: str = "XUSDT", *, start_ms: int = START_MS, interval_ms: int = HOUR_MS
) -> Bars:
    """Bars of (open, high, low, close), volume 1000."""
    table = np.array(candles, dtype=np.float64)
    times = start_ms + np.arange(len(candles), dtype=np.int64) * interval_ms
    volume = np.full(len(candles), 1000.0)
    return Bars(symbol, interval_ms, times, table[:, 0], table[:, 1], table[:, 2], table[:, 3], volume)


def random_bars(
    seed: int,
    count: int,
    symbol: str = "XUSDT",
    *,
    volatility: float = 0.01,
    start_ms: int = START_MS,
    interval_ms: int = HOUR_MS,
) -> Bars:
    """A random walk with gaps between bars, prices on a tick of 0.01 and volume bursts."""
    draw = np.random.default_rng(seed)
    steps = draw.normal(0.0, volatility, count) * draw.choice([0.3, 1.0, 3.0], count, p=[0.4, 0.5, 0.1])
    close: Floats = np.round(100.0 * np.exp(np.cumsum(steps)), 2)
    opened = np.round(np.concatenate(([100.0], close[:-1])) * (1 + draw.normal(0, volatility / 5, count)), 2)
    high = np.round(np.maximum(opened, close) * (1 + np.abs(draw.normal(0, volatility / 2, count))), 2)
    low = np.round(np.minimum(opened, close) * (1 - np.abs(draw.normal(0, volatility / 2, count))), 2)
    volume = np.round(1000.0 * np.exp(draw.normal(0, 0.8, count)), 1)
    times = start_ms + np.arange(count, dtype=np.int64) * interval_ms
    return Bars(symbol, interval_ms, times, opened, high, low, close, volume)


def market(*series: Bars, funding_rate: Decimal = Decimal(0)) -> MarketData:
    """These bars with instruments that fit them and a constant funding rate."""
    funding: dict[str, Funding] = {
        bars.symbol: constant_funding(funding_rate, first_ms(bars), end_ms(bars)) for bars in series
    }
    return MarketData(
        {bars.symbol: bars for bars in series}, funding, {bars.symbol: fitting_instrument(bars) for bars in series}
    )


def backtest_of(
    strategy: Strategy[Any, Any],
    data: MarketData,
    *,
    costs: Costs = FREE,
    cash: Decimal = Decimal(10_000),
    from_ms: int | None = None,
    to_ms: int | None = None,
) -> Result:
    """Run the backtest over all of the data, or a part of it."""
    return run(
        strategy,
        data,
        BacktestConfig(
            data.first_ms if from_ms is None else from_ms, data.end_ms if to_ms is None else to_ms, cash, costs
        ),
    )


def scripted(candles: Sequence[Candle], *, costs: Costs = FREE, funding: str = "0", **script: object) -> Result:
    """A scripted strategy over these candles."""
    parameters = ScriptParameters.model_validate(script)
    return backtest_of(Scripted(parameters), market(bars_of(candles), funding_rate=Decimal(funding)), costs=costs)


def changed(bars: Bars, columns: Mapping[str, Floats]) -> Bars:
    """A copy of the bars with replaced columns."""
    kept = {name: getattr(bars, name) for name in ("open", "high", "low", "close", "volume")} | dict(columns)
    return Bars(bars.symbol, bars.interval_ms, bars.start_ms, **kept)
