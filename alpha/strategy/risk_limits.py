"""Loss limits and the open-profit limit of one account, on equity as it moves, with durable references.

References are the equity first seen in a UTC day, week (from Monday) and month, and the peak. A transfer moves them all,
so that money in or out is neither profit nor loss.
"""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import msgspec

from alpha.model.coin import USDT
from alpha.model.timestamp import at, ms_of
from alpha.strategy.risk_rules import Action, LossLimit, OpenProfitLimit, Until, Window

DAY_MS = 86_400_000
_TIMED = (Window.DAY, Window.WEEK, Window.MONTH)
_ALL_TIME = 1 << 62
_HALF = Decimal("0.5")
_ONE = Decimal(1)


def window_start(window: Window, now_ms: int) -> int:
    """When the UTC day, week (Monday) or month that holds `now_ms` began; 0 for the drawdown, which has none."""
    if window is Window.DRAWDOWN:
        return 0
    day = now_ms - now_ms % DAY_MS
    if window is Window.DAY:
        return day
    moment = at(day)
    back = moment.weekday() if window is Window.WEEK else moment.day - 1
    return ms_of(moment - timedelta(days=back))


class Block(msgspec.Struct):
    """One breached limit. `window_ms` is the start of its window; `reference` and `worst` are equities in USDT."""

    action: Action
    until: Until
    window_ms: int
    since_ms: int
    reference: Decimal
    worst: Decimal


class LimitState(msgspec.Struct):
    """What must be remembered: references by window, the peak, breaches in force, the open-profit limit's peak."""

    started_ms: dict[Window, int] = msgspec.field(default_factory=dict)
    references: dict[Window, Decimal] = msgspec.field(default_factory=dict)
    blocks: dict[str, Block] = msgspec.field(default_factory=dict)
    profit_peak: Decimal | None = None
    closing_all: bool = False


@dataclass(frozen=True, slots=True)
class Breach:
    """A limit that was just met, in a sentence."""

    name: str
    action: Action
    text: str


class RiskLimits:
    """Applies the limits to equity as it is seen."""

    def __init__(
        self,
        limits: tuple[LossLimit, ...],
        open_profit: OpenProfitLimit | None,
        state: LimitState | None = None,
        *,
        coin: str = USDT,
    ) -> None:
        """`coin` is what the amounts are in."""
        self._limits = limits
        self._open_profit = open_profit
        self._coin = coin
        self.state = LimitState() if state is None else state
        self._quiet_until_ms = -1
        self._quiet_above = Decimal(0)

    def see(self, now_ms: int, equity: Decimal, open_profit: Decimal) -> list[Breach]:
        """Note equity and total unrealised profit (USDT) at business time `now_ms`; returns limits just breached."""
        breaches: list[Breach] = []
        if self._open_profit is not None:
            breaches = self._see_profit(self._open_profit, open_profit)
        if self._is_quiet(now_ms, equity):
            return breaches
        self._roll(now_ms, equity)
        self._lift(equity)
        for limit in self._limits:
            breach = self._test(limit, now_ms, equity)
            if breach is not None:
                breaches.append(breach)
        self._quieten(now_ms)
        return breaches

    def calm(self, now_ms: int) -> tuple[float, float, float, float] | None:
        """Between which figures `see` would change nothing for the rest of the UTC day; None when it might at any.

        Equity above and up to, then unrealised profit above and up to, in USDT. For callers that see many prices.
        """
        state = self.state
        if now_ms >= self._quiet_until_ms or state.closing_all:
            return None
        most, least = float("inf"), float("-inf")
        if self._open_profit is not None and state.profit_peak is None:
            most = float(self._open_profit.arm_usdt)
        elif self._open_profit is not None and state.profit_peak is not None:
            most = float(state.profit_peak)
            least = float(state.profit_peak * (1 - self._open_profit.give_back))
        return float(self._quiet_above), float(state.references[Window.DRAWDOWN]), least, most

    @property
    def closes_all(self) -> bool:
        """True while a limit demands that nothing is held."""
        return self.state.closing_all or any(block.action is Action.CLOSE_ALL for block in self.state.blocks.values())

    @property
    def blocks_entries(self) -> str | None:
        """The name of a limit that lets no entry through now, or None."""
        if self.state.closing_all:
            return "open_profit"
        for name, block in self.state.blocks.items():
            if block.action is not Action.HALF_SIZE:
                return name
        return None

    @property
    def in_force(self) -> frozenset[str]:
        """The names of the limits that were met and whose consequence lasts."""
        return frozenset({*self.state.blocks, *(("open_profit",) if self.state.closing_all else ())})

    @property
    def scale(self) -> Decimal:
        """What sizes are multiplied with: 1, or 0.5 while a limit halves them."""
        halved = any(block.action is Action.HALF_SIZE for block in self.state.blocks.values())
        return _HALF if halved else _ONE

    def used(self, equity: Decimal) -> dict[str, Decimal]:
        """How much of each limit is in use at this equity, once `see` has run: 0 at the reference or above, 1 where it is met."""
        references = self.state.references
        return {
            limit.name: max(Decimal(0), 1 - equity / references[limit.window]) / limit.fraction
            for limit in self._limits
            if references.get(limit.window, Decimal(0)) > 0 and limit.fraction > 0
        }

    def flat(self) -> None:
        """Note that nothing is held: a close-all of the open-profit limit is done, and there is no profit to guard."""
        self.state.closing_all = False
        self.state.profit_peak = None

    def transfer(self, amount: Decimal) -> None:
        """Money moved in (above zero) or out: every reference moves with it."""
        for window, reference in self.state.references.items():
            self.state.references[window] = reference + amount
        for block in self.state.blocks.values():
            block.reference += amount
            block.worst += amount
        self._quiet_until_ms = -1

    def resume(self) -> list[str]:
        """The operator resumes: breaches that wait for it end, measured anew from the next equity. Returns their names."""
        lifted = [name for name, block in self.state.blocks.items() if block.until is Until.RESUMED]
        for limit in self._limits:
            if limit.name in lifted:
                del self.state.blocks[limit.name]
                self.state.references.pop(limit.window, None)
                self.state.started_ms.pop(limit.window, None)
        self._quiet_until_ms = -1
        return lifted

    def _see_profit(self, limit: OpenProfitLimit, profit: Decimal) -> list[Breach]:
        state = self.state
        if state.closing_all:
            return []
        if state.profit_peak is None:
            if profit > limit.arm_usdt:
                state.profit_peak = profit
            return []
        if profit > state.profit_peak:
            state.profit_peak = profit
        elif profit <= state.profit_peak * (1 - limit.give_back):
            text = f"Unrealised profit fell from {state.profit_peak:.2f} to {profit:.2f} {self._coin}: all positions are closed."
            state.profit_peak = None
            state.closing_all = True
            return [Breach("open_profit", Action.CLOSE_ALL, text)]
        return []

    def _is_quiet(self, now_ms: int, equity: Decimal) -> bool:
        """True when nothing can have changed: same windows, no breach in force, equity between floor and peak."""
        if now_ms >= self._quiet_until_ms or equity <= self._quiet_above:
            return False
        return equity <= self.state.references[Window.DRAWDOWN]

    def _quieten(self, now_ms: int) -> None:
        state = self.state
        self._quiet_until_ms = -1 if state.blocks else now_ms - now_ms % DAY_MS + DAY_MS
        floors = [state.references[limit.window] * (1 - limit.fraction) for limit in self._limits]
        self._quiet_above = max(floors, default=Decimal(0))

    def _roll(self, now_ms: int, equity: Decimal) -> None:
        state = self.state
        for window in _TIMED:
            start = window_start(window, now_ms)
            if state.started_ms.get(window) != start:
                state.started_ms[window] = start
                state.references[window] = equity
        peak = state.references.get(Window.DRAWDOWN)
        if peak is None or equity > peak:
            state.references[Window.DRAWDOWN] = equity

    def _lift(self, equity: Decimal) -> None:
        for limit in self._limits:
            block = self.state.blocks.get(limit.name)
            if block is None:
                continue
            block.worst = min(block.worst, equity)
            ended = block.until is Until.WINDOW_END and self.state.started_ms.get(limit.window) != block.window_ms
            recovered = (
                block.until is Until.HALF_RECOVERED and equity >= block.worst + (block.reference - block.worst) / 2
            )
            if ended or recovered:
                del self.state.blocks[limit.name]

    def _test(self, limit: LossLimit, now_ms: int, equity: Decimal) -> Breach | None:
        if limit.name in self.state.blocks:
            return None
        reference = self.state.references[limit.window]
        if reference <= 0 or equity > reference * (1 - limit.fraction):
            return None
        self.state.blocks[limit.name] = Block(
            action=limit.action,
            until=limit.until,
            window_ms=window_start(limit.window, now_ms),
            since_ms=now_ms,
            reference=reference,
            worst=equity,
        )
        loss = (reference - equity) / reference * 100
        text = f"Equity {equity:.2f} {self._coin} is {loss:.2f} % below the {limit.window} reference {reference:.2f}: {limit.action}."
        return Breach(limit.name, limit.action, text)
