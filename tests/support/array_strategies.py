"""A strategy that has everything a strategy can say in arrays: for comparing the compiled walk with the slow one."""

from collections.abc import Mapping
from decimal import Decimal

import numpy as np

from alpha.indicators import sma
from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.arrays import ArrayRules, Levels, Raise
from alpha.strategy.bars import Bars, BarView, BoolArray, FloatArray, Series
from alpha.strategy.base import BarContext, Parameters, Strategy, StrategyState, Universe
from alpha.strategy.intents import Enter, Exit, Intent, MoveStop, Notional, OfEquity, Size, Trailing
from alpha.strategy.risk_rules import Rules

HOUR_MS = 3_600_000


class ArrayedParameters(Parameters):
    """What the rules are; levels are fractions of the entry price, times are bars."""

    symbols: tuple[str, ...] = ("XUSDT",)
    short: bool = False
    stop: Decimal = Decimal("0.03")
    take_profit: Decimal | None = None
    trailing: tuple[Decimal, Decimal] | None = None
    raises: Decimal | None = None
    usdt: Decimal | None = None
    fraction: Decimal = Decimal("0.4")
    after_bars: int = 0
    limit_bars: int | None = None


class Arrayed(Strategy[ArrayedParameters, StrategyState]):
    """Enters where a fast average crosses a slow one, leaves where it crosses back."""

    parameters_type = ArrayedParameters
    account = Rules(Decimal(10), "low-first")

    @property
    def interval(self) -> str:
        return "60"

    @property
    def history(self) -> int:
        return 13

    @property
    def universe(self) -> Universe:
        return Universe(self.parameters.symbols)

    @property
    def rules(self) -> Rules:
        return self.account

    def indicators(self, bars: Bars) -> dict[str, FloatArray]:
        return {"fast": sma(bars.close, 3), "slow": sma(bars.close, 12)}

    def may_enter(self, series: Series) -> BoolArray:
        above = series.indicators["fast"] > series.indicators["slow"]
        if self.parameters.short:
            above = ~above & series.ready
        crosses = np.zeros(len(above), dtype=np.bool_)
        crosses[1:] = above[1:] & ~above[:-1]
        return crosses

    @property
    def _size(self) -> Size:
        p = self.parameters
        return OfEquity(p.fraction) if p.usdt is None else Notional(p.usdt)

    @property
    def _levels(self) -> Levels:
        p = self.parameters
        return Levels(p.stop, p.take_profit, None if p.trailing is None else Trailing(*p.trailing))

    def _gone(self, bar: BarView) -> bool:
        return (bar["fast"] < bar["slow"]) != self.parameters.short

    def arrays(self, series: Mapping[str, Series]) -> ArrayRules | None:
        p = self.parameters
        leaves = {
            symbol: (one.indicators["fast"] < one.indicators["slow"]) != p.short for symbol, one in series.items()
        }
        return ArrayRules(
            direction=Direction.SHORT if p.short else Direction.LONG,
            size=self._size,
            enters={symbol: self.may_enter(one) for symbol, one in series.items()},
            leaves=leaves,
            levels=dict.fromkeys(series, self._levels),
            enter=self._enter,
            leave=self._leave,
            score={symbol: one.bars.volume for symbol, one in series.items()},
            leaves_after_ms=p.after_bars * HOUR_MS,
            time_limit_ms=None if p.limit_bars is None else p.limit_bars * HOUR_MS,
            raises=None if p.raises is None else Raise(p.raises, Reason.TRAILING_STOP, "raised"),
            held_order=p.raises is not None,
        )

    def _enter(self, bar: BarView) -> Enter:
        levels = self._levels
        direction = Direction.SHORT if self.parameters.short else Direction.LONG
        return Enter(
            bar.symbol, direction, self._size, levels.stop, levels.take_profit, levels.trailing, why=f"at {bar.close}"
        )

    def _leave(self, held_ms: int, bar: BarView) -> Exit:
        p = self.parameters
        if p.limit_bars is not None and held_ms >= p.limit_bars * HOUR_MS:
            return Exit(bar.symbol, Reason.TIME_LIMIT, why=f"held {held_ms}")
        return Exit(bar.symbol, Reason.SIGNAL, why=f"left at {bar.close}")

    def evaluate(self, moment: BarContext, state: StrategyState) -> list[Intent]:
        p, held = self.parameters, moment.portfolio.positions
        intents: list[Intent] = []
        symbols = held if p.raises is not None else [symbol for symbol in p.symbols if symbol in held]
        for symbol in symbols:
            bar, position = moment.bars.get(symbol), held[symbol]
            if bar is None:
                continue
            held_ms = position.held_ms(moment.close_ms)
            if (p.limit_bars is not None and held_ms >= p.limit_bars * HOUR_MS) or (
                self._gone(bar) and held_ms >= p.after_bars * HOUR_MS
            ):
                intents.append(self._leave(held_ms, bar))
            elif p.raises is not None:
                best = position.lowest_low if p.short else position.highest_high
                if best is not None:
                    stop = best * (1 + p.raises if p.short else 1 - p.raises)
                    intents.append(MoveStop(symbol, stop, Reason.TRAILING_STOP, why="raised"))
        signals = [bar for symbol, bar in moment.bars.items() if symbol not in held and self._crosses(bar)]
        signals.sort(key=lambda bar: bar.volume, reverse=True)
        return intents + [self._enter(bar) for bar in signals]

    def _crosses(self, bar: BarView) -> bool:
        before = bar.before()
        if before is None:
            return False
        now, then = bar["fast"] > bar["slow"], before["fast"] > before["slow"]
        if self.parameters.short:
            return not now and (then or not before.ready)
        return now and not then
