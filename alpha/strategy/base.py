"""The contract of a strategy: closed candles, indicators, own state and portfolio in; intents out.

It never sees the exchange, the clock or the network. The same object trades live, on the simulator and in a back-test.

Indicators are computed on arrays: in a back-test once over everything, live over the last `history` bars. The value at a
bar must be bitwise the same in both, whenever the process started. `alpha.indicators` keeps that promise: a windowed
value uses exactly its window; a recursive average is computed from a deterministic start, a fixed number of bars
(5 n for an EMA, 10 n for Wilder's) before the first bar of the bar's UTC day, and is NaN where that start lies before
the first bar. `history` therefore is that number plus the bars of one day, plus one for the bar before.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import msgspec
import numpy as np
from pydantic import BaseModel, ConfigDict, field_validator

from alpha.model.money import usual_or_refused
from alpha.strategy.arrays import ArrayRules
from alpha.strategy.auxiliary import Column
from alpha.strategy.bars import Bars, BarView, BoolArray, FloatArray, Series
from alpha.strategy.intents import Intent
from alpha.strategy.positions import OwnPosition
from alpha.strategy.resting import RestingOrder
from alpha.strategy.risk_rules import Rules
from alpha.timeframes import Columns


class Parameters(BaseModel):
    """Typed, frozen parameters of a strategy. Each field has a default and a description with its unit."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="after")
    @classmethod
    def _of_a_size_that_somebody_means(cls, value: object) -> object:
        return usual_or_refused(value)


class StrategyState(msgspec.Struct):
    """Durable state of a strategy's own; saved as JSON before anything is sent. Every field has a default."""


@dataclass(frozen=True, slots=True)
class Universe:
    """Which symbols are followed: `symbols`, or, where that is empty, all USDT perpetuals whose turnover of the last
    24 hours is above `min_turnover_usdt`, looked at again every `refresh_ms`."""

    symbols: tuple[str, ...] = ()
    min_turnover_usdt: Decimal = Decimal(0)
    refresh_ms: int = 0


@dataclass(frozen=True, slots=True)
class Portfolio:
    """The account as a strategy sees it: positions of its own making by symbol, its resting entries and targets.

    `equity` (unrealised profit included) and `open_profit` are in USDT, at the time of the decision; None unless the
    strategy `sees_equity`.
    """

    positions: Mapping[str, OwnPosition]
    entries: tuple[RestingOrder, ...] = ()
    targets: tuple[RestingOrder, ...] = ()
    equity: Decimal | None = None
    open_profit: Decimal | None = None


@dataclass(frozen=True, slots=True)
class BarContext:
    """All symbols that closed the bar which started at `bar_ms`, evaluated together at `close_ms`.

    `bars` holds, in the order of the universe, the symbols whose indicators all have a value, and every symbol that is
    held, whose `ready` may be False: an indicator without a value (NaN) must not skip an exit. A symbol with a missing
    candle is not in it.
    """

    bar_ms: int
    close_ms: int
    bars: Mapping[str, BarView]
    portfolio: Portfolio


class ScoreSource(Protocol):
    """Gives the scores of models at every bar at once: a back-test's. Live, the bot runner asks the model server."""

    def of(self, names: Sequence[str], symbol: str, interval_ms: int, candles: Columns) -> Mapping[str, Any]:
        """By model: an object with `values`, `codes` and `texts` as in `ScoreColumn`."""


P = TypeVar("P", bound=Parameters)
S = TypeVar("S", bound=StrategyState)


class Strategy(ABC, Generic[P, S]):
    """Base of all strategies. A subclass names its `parameters_type` and `state_type`."""

    parameters_type: ClassVar[type[Parameters]]
    state_type: ClassVar[type[StrategyState]] = StrategyState
    #: True: the portfolio it is shown has `equity` and `open_profit`.
    sees_equity: ClassVar[bool] = False

    def __init__(self, parameters: P) -> None:
        self.parameters = parameters
        #: Set by a back-test; None live.
        self.score_source: ScoreSource | None = None
        self._entry_signals: dict[str, tuple[Series, BoolArray]] = {}

    @property
    @abstractmethod
    def interval(self) -> str:
        """The bars it looks at, as Bybit writes the interval: "5", "240"."""

    @property
    @abstractmethod
    def history(self) -> int:
        """How many closed bars, the evaluated one included, give every indicator its value at any time of day."""

    @property
    def timeframes(self) -> tuple[str, ...]:
        """Further timeframes, longer than the base interval and multiples of it: ("60", "240")."""
        return ()

    def history_of(self, timeframe: str) -> int:
        """How many closed bars of a further timeframe give every indicator of it its value. Default: `history`."""
        return self.history

    @property
    def models(self) -> tuple[str, ...]:
        """The models whose scores it uses: `bar.score(name)`. While one gives no score there are no entries."""
        return ()

    @property
    def references(self) -> tuple[str, ...]:
        """Symbols whose bars `indicators` looks at beside each symbol's own: `bars.reference(symbol)`.

        They are traded only where the universe has them too.
        """
        return ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """Columns beside the candles: FUNDING_RATE, OPEN_INTEREST, or a file of the user's; `bars.column(name)`."""
        return ()

    @property
    @abstractmethod
    def universe(self) -> Universe:
        """The symbols it follows."""

    @property
    @abstractmethod
    def rules(self) -> Rules:
        """The account rules that hold around it."""

    @abstractmethod
    def indicators(self, bars: Bars) -> dict[str, FloatArray]:
        """The indicators of one symbol: name to an array of the bars' length.

        Asked for the base interval and for each further timeframe; `bars.interval_ms` tells which.
        """

    @abstractmethod
    def evaluate(self, moment: BarContext, state: S) -> list[Intent]:
        """What to do after this bar. Changes `state` in place; best entry first.

        At a bar without own positions and resting orders and where `may_enter` is False for every symbol it wants
        nothing and changes nothing.
        """

    def may_enter(self, series: Series) -> BoolArray:
        """At which bars an entry in this symbol is possible at all. Default: at all.

        A hint that lets a back-test skip the others: a flat symbol may be missing among the bars of a moment (a look-up by
        its name still finds it) where this is False.
        """
        return np.ones(len(series.bars), dtype=np.bool_)

    def enters(self, bar: BarView) -> bool:
        """Whether `may_enter` holds at this bar of the base interval, so that `evaluate` need not repeat the rule.

        Computed once per series: live for each new bar's window, in a back-test for the whole history.
        """
        known = self._entry_signals.get(bar.symbol)
        if known is None or known[0] is not bar.series:
            known = self._entry_signals[bar.symbol] = (bar.series, self.may_enter(bar.series))
        return bool(known[1][bar.index])

    def arrays(self, series: Mapping[str, Series]) -> ArrayRules | None:
        """The rules as arrays over all bars, for a walk in compiled code; None (default) when they cannot be told so."""
        return None
