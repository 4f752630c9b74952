"""A strategy scripted by the test, with matching bars and instruments."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from pydantic import Field

from alpha.model.instrument import Instrument
from alpha.model.side import Direction
from alpha.strategy.bars import Bars, BarView, FloatArray, Series
from alpha.strategy.base import BarContext, Parameters, Strategy, StrategyState, Universe
from alpha.strategy.core import DecisionCore
from alpha.strategy.intents import Intent
from alpha.strategy.positions import OwnPosition
from alpha.strategy.risk_rules import Rules

MINUTES_5 = 300_000
HOUR = 3_600_000
DAY = 86_400_000
MONDAY = 1_735_516_800_000  # 2024-12-30 00:00 UTC


def instrument(symbol: str = "BTCUSDT", **changes: Any) -> Instrument:
    """A perpetual with a tick of 0.1 and a step of 0.001."""
    fields: dict[str, Any] = {
        "category": "linear",
        "symbol": symbol,
        "base_coin": symbol.removesuffix("USDT"),
        "quote_coin": "USDT",
        "settle_coin": "USDT",
        "contract_type": "LinearPerpetual",
        "symbol_type": "",
        "status": "Trading",
        "launch_ms": None,
        "delivery_ms": None,
        "tick_size": Decimal("0.1"),
        "min_price": Decimal("0.1"),
        "max_price": Decimal(1_000_000),
        "qty_step": Decimal("0.001"),
        "min_order_qty": Decimal("0.001"),
        "max_order_qty": Decimal(1000),
        "max_market_qty": Decimal(100),
        "min_notional": Decimal(5),
        "min_leverage": Decimal(1),
        "max_leverage": Decimal(100),
        "leverage_step": Decimal("0.01"),
        "funding_interval_min": 480,
        **changes,
    }
    return Instrument(**fields)


class ScriptParameters(Parameters):
    """Minimal parameters (a number and a table) for parameter tests."""

    period: int = Field(default=10, ge=1, description="a period, in bars")
    share: Decimal = Field(default=Decimal("0.5"), gt=0, description="a share of equity")
    levels: dict[str, Decimal] = Field(default={}, description="levels by symbol")


class Script(Strategy[ScriptParameters, StrategyState]):
    """Returns the intents it was given, bar by bar."""

    parameters_type = ScriptParameters

    def __init__(self, rules: Rules | None = None, symbols: Sequence[str] = ("BTCUSDT", "ETHUSDT", "SOLUSDT")) -> None:
        super().__init__(ScriptParameters())
        self.wanted: list[Intent] = []
        self.seen: list[BarContext] = []
        self._rules = Rules(leverage=Decimal(10), adverse_first="high-first") if rules is None else rules
        self._symbols = tuple(symbols)

    @property
    def interval(self) -> str:
        """Five minutes."""
        return "5"

    @property
    def history(self) -> int:
        """Two bars."""
        return 2

    @property
    def universe(self) -> Universe:
        """The symbols given."""
        return Universe(symbols=self._symbols)

    @property
    def rules(self) -> Rules:
        """The rules given."""
        return self._rules

    def indicators(self, bars: Bars) -> dict[str, FloatArray]:
        """None."""
        return {}

    def evaluate(self, moment: BarContext, state: StrategyState) -> list[Intent]:
        """Return the scripted intents of this bar."""
        self.seen.append(moment)
        return self.wanted


def core_of(script: Script, **instruments: Instrument) -> DecisionCore:
    """A core over these instruments, or over three default ones."""
    known = instruments or {symbol: instrument(symbol) for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT")}
    return DecisionCore(script, MINUTES_5, known.get)


def view(
    symbol: str, start_ms: int, close: float = 100.0, high: float | None = None, low: float | None = None
) -> BarView:
    """One bar."""
    columns = [np.array([value]) for value in (close, high or close, low or close, close, 1.0)]
    bars = Bars(symbol, MINUTES_5, np.array([start_ms], dtype=np.int64), *columns)
    return Series.of(bars, {}).view(0)


def position(symbol: str, direction: Direction, entry_price: str, opened_ms: int = 0) -> OwnPosition:
    """A position of the strategy, size 1, with a stop 10 % away."""
    entry = Decimal(entry_price)
    return OwnPosition(
        symbol=symbol,
        direction=direction,
        size=Decimal(1),
        entry_price=entry,
        opened_ms=opened_ms,
        opened_bar_ms=opened_ms - opened_ms % MINUTES_5,
        stop_loss=entry * (1 - direction.sign * Decimal("0.1")),
    )
