"""Account rules of a strategy: what the decision core applies around it."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class Window(StrEnum):
    """Over what a loss is measured. Days, weeks (from Monday) and months are UTC; drawdown is from the peak."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    DRAWDOWN = "drawdown"


class Action(StrEnum):
    """What a breached limit does. Each higher one includes the lower: CLOSE_ALL also lets no entry through."""

    HALF_SIZE = "half_size"
    NO_ENTRIES = "no_entries"
    CLOSE_ALL = "close_all"


class Until(StrEnum):
    """When a breach ends."""

    WINDOW_END = "window_end"
    RESUMED = "resumed"
    HALF_RECOVERED = "half_recovered"


@dataclass(frozen=True, slots=True)
class LossLimit:
    """Equity at least `fraction` below its reference over `window`: do `action` until `until`."""

    window: Window
    fraction: Decimal
    action: Action
    until: Until

    @property
    def name(self) -> str:
        """Its name in state, logs and alerts."""
        return f"{self.window}_{self.action}"


@dataclass(frozen=True, slots=True)
class OpenProfitLimit:
    """Total unrealised profit above `arm_usdt` arms it; `give_back` of its peak given back closes all positions."""

    arm_usdt: Decimal
    give_back: Decimal


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for the whole account. None or zero means: no such rule.

    `cooldown_ms` runs from the close of the bar of an exit; `max_exposure` is a multiple of equity, an entry beyond it
    is made smaller. `max_adds` is how many entries may follow the first in one symbol, resting ones included.
    """

    leverage: Decimal
    adverse_first: str  # "high-first" for shorts, "low-first" for longs: how a candle is walked
    cooldown_ms: int = 0
    entries_per_day: int | None = None
    max_positions: int | None = None
    max_exposure: Decimal | None = None
    loss_limits: tuple[LossLimit, ...] = ()
    open_profit: OpenProfitLimit | None = None
    max_adds: int = 0
