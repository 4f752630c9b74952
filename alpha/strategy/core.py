"""The decision core: a closed bar in, orders out. The live runtime and the back-tester drive the same object.

At each time at which bars close, in this order:

1. the exchange has done its part at this price (funding, stops); `closed` was told of every exit;
2. `see(now, equity, ...)` applies the account limits; its closes are carried out;
3. `close_bar` evaluates the bar; its closes and then its stops are carried out;
4. `size` makes orders of the entries, all from one equity, read after the closes; each is carried out in turn, and
   `opened` gives the levels to set from the actual average price.

At the other points of a bar (first extreme, second extreme, close) only 1 and 2 happen.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from alpha.model.instrument import Instrument
from alpha.model.money import ZERO
from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.model.sizing import TooSmall, fit_qty, round_stop
from alpha.strategy.bars import BarView, to_decimal
from alpha.strategy.base import BarContext, Portfolio, Strategy, StrategyState
from alpha.strategy.intents import Enter, Exit, MoveStop, OfEquity
from alpha.strategy.positions import OwnPosition, Protection, protection_of, stop_passed
from alpha.strategy.risk_limits import DAY_MS, Breach, LimitState, RiskLimits


class CoreState(msgspec.Struct):
    """What the core must remember beside the strategy's own state. Times are business time, UTC milliseconds."""

    last_bar_ms: int = -1
    positions: dict[str, OwnPosition] = msgspec.field(default_factory=dict)
    cooldown_from_ms: dict[str, int] = msgspec.field(default_factory=dict)
    entries_day_ms: int = -1
    entries: dict[str, int] = msgspec.field(default_factory=dict)
    limits: LimitState = msgspec.field(default_factory=LimitState)


@dataclass(frozen=True, slots=True)
class CloseOrder:
    """Close a position: a reduce-only market order of `size`."""

    symbol: str
    direction: Direction
    size: Decimal
    reason: Reason
    why: str


@dataclass(frozen=True, slots=True)
class StopUpdate:
    """Move the plain stop of a position to `price` (on a tick)."""

    symbol: str
    direction: Direction
    price: Decimal
    meaning: Reason
    why: str


@dataclass(frozen=True, slots=True)
class EntryOrder:
    """Open a position: a market order of `qty` that carries `stop_loss`.

    `stop_loss` is measured from the close of the bar that decided; after the fill the levels are set anew from the
    average price. Where the market has already passed it when the order arrives, there is no entry (`too_late`).
    """

    enter: Enter
    qty: Decimal
    stop_loss: Decimal
    price: Decimal
    bar_ms: int
    close_ms: int
    instrument: Instrument

    def too_late(self, last: Decimal) -> bool:
        """True when the market at `last` has passed the stop that the order carries: it would be refused."""
        return stop_passed(self.enter.direction, self.stop_loss, last)


@dataclass(frozen=True, slots=True)
class Skipped:
    """An entry that the rules did not let through, and why."""

    symbol: str
    why: str


@dataclass(slots=True)
class Plan:
    """What follows from a closed bar, in the order in which it is carried out. `entries` still need `size`."""

    bar_ms: int
    close_ms: int
    closes: list[CloseOrder] = field(default_factory=list)
    stops: list[StopUpdate] = field(default_factory=list)
    entries: list[Enter] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


class DecisionCore:
    """Everything between a strategy and the exchange that is not I/O."""

    def __init__(
        self,
        strategy: Strategy[Any, Any],
        interval_ms: int,
        instrument_of: Callable[[str], Instrument | None],
        state: CoreState | None = None,
        strategy_state: StrategyState | None = None,
    ) -> None:
        """`instrument_of` gives a symbol's filters, or None for a symbol that the exchange does not list."""
        self.strategy = strategy
        self.rules = strategy.rules
        self.interval_ms = interval_ms
        self.instrument_of = instrument_of
        self.state = CoreState() if state is None else state
        self.strategy_state = strategy.state_type() if strategy_state is None else strategy_state
        self.limits = RiskLimits(self.rules.loss_limits, self.rules.open_profit, self.state.limits)

    @property
    def positions(self) -> dict[str, OwnPosition]:
        """The positions of the bot's own making."""
        return self.state.positions

    # --- account limits -----------------------------------------------------------------------------------------

    def see(self, now_ms: int, equity: Decimal, open_profit: Decimal) -> tuple[list[CloseOrder], list[Breach]]:
        """Note equity and unrealised profit (USDT) at `now_ms`: what the account limits want closed, and what broke."""
        breaches = self.limits.see(now_ms, equity, open_profit)
        if not self.state.positions:
            self.limits.flat()
            return [], breaches
        if not self.limits.closes_all:
            return [], breaches
        why = breaches[0].text if breaches else "An account limit is in force."
        return [self._close(position, Reason.RISK_LIMIT, why) for position in self.state.positions.values()], breaches

    # --- a closed bar -------------------------------------------------------------------------------------------

    def close_bar(self, bar_ms: int, views: Mapping[str, BarView]) -> Plan:
        """Evaluate the bar that started at `bar_ms`: `views` holds every followed symbol that has it."""
        for symbol, position in self.state.positions.items():
            view = views.get(symbol)
            if view is not None and bar_ms >= position.opened_bar_ms:
                _stretch(position, view)
        self.state.last_bar_ms = bar_ms
        plan = Plan(bar_ms, bar_ms + self.interval_ms)
        ready = {symbol: view for symbol, view in views.items() if view.ready}
        moment = BarContext(bar_ms, plan.close_ms, ready, Portfolio(self.state.positions))
        intents = self.strategy.evaluate(moment, self.strategy_state)
        leaving: set[str] = set()
        for intent in intents:
            if isinstance(intent, Exit):
                held = self.state.positions.get(intent.symbol)
                if held is not None and intent.symbol not in leaving:
                    leaving.add(intent.symbol)
                    plan.closes.append(self._close(held, intent.reason, intent.why))
        for intent in intents:
            if isinstance(intent, MoveStop) and intent.symbol not in leaving:
                self._plan_stop(intent, plan)
        self._admit((intent for intent in intents if isinstance(intent, Enter)), leaving, plan)
        return plan

    def _plan_stop(self, move: MoveStop, plan: Plan) -> None:
        position = self.state.positions.get(move.symbol)
        instrument = self.instrument_of(move.symbol)
        if position is None or instrument is None:
            return
        price = round_stop(move.price, position.direction.value, instrument)
        if position.tightens(price):
            plan.stops.append(StopUpdate(move.symbol, position.direction, price, move.meaning, move.why))

    def _admit(self, enters: Iterable[Enter], leaving: set[str], plan: Plan) -> None:
        """Let through the entries that the rules allow, in the strategy's order."""
        rules = self.rules
        free = None
        if rules.max_positions is not None:
            free = rules.max_positions - len(self.state.positions) + len(leaving)
        for enter in enters:
            why = self._refusal(enter.symbol, plan.close_ms)
            if why is None and free is not None and free <= 0:
                why = f"{rules.max_positions} positions are open"
            if why is None:
                plan.entries.append(enter)
                free = None if free is None else free - 1
            else:
                plan.skipped.append(Skipped(enter.symbol, why))

    def _refusal(self, symbol: str, close_ms: int) -> str | None:
        if symbol in self.state.positions:
            return "a position is open"
        limit = self.limits.blocks_entries
        if limit is not None:
            return f"the limit {limit} is in force"
        since = self.state.cooldown_from_ms.get(symbol)
        if since is not None and close_ms - since < self.rules.cooldown_ms:
            return "cooldown after the last exit"
        most = self.rules.entries_per_day
        if most is not None and self._entries_of_day(symbol, close_ms) >= most:
            return f"{most} entries today"
        return None

    def _entries_of_day(self, symbol: str, close_ms: int) -> int:
        return self.state.entries.get(symbol, 0) if close_ms - close_ms % DAY_MS == self.state.entries_day_ms else 0

    # --- entries ------------------------------------------------------------------------------------------------

    def size(self, plan: Plan, equity: Decimal, views: Mapping[str, BarView]) -> list[EntryOrder]:
        """Orders for the plan's entries, from `equity` (USDT, read after the plan's closes); sized at the bar's close.

        An entry that is too small, or has no room under the exposure limit, is moved to `plan.skipped`.
        """
        orders: list[EntryOrder] = []
        if not plan.entries:
            return orders
        room = None
        if self.rules.max_exposure is not None:
            room = self.rules.max_exposure * equity - self._exposure(views)
        for enter in plan.entries:
            instrument = self.instrument_of(enter.symbol)
            view = views.get(enter.symbol)
            if instrument is None or view is None or not takes_entries(instrument):
                plan.skipped.append(Skipped(enter.symbol, "the exchange takes no new entries in it"))
                continue
            price = to_decimal(view.close)
            size = enter.size
            notional = (size.fraction * equity if isinstance(size, OfEquity) else size.usdt) * self.limits.scale
            if room is not None:
                notional = min(notional, room)
            try:
                if notional <= 0:
                    raise TooSmall(f"{enter.symbol}: no room is left under the exposure limit.")
                qty = fit_qty(notional / price, price, instrument)
            except TooSmall as small:
                plan.skipped.append(Skipped(enter.symbol, str(small)))
                continue
            if room is not None:
                room -= qty * price
            stop = protection_of(enter, price, instrument).stop_loss
            orders.append(EntryOrder(enter, qty, stop, price, plan.bar_ms, plan.close_ms, instrument))
        return orders

    def _exposure(self, views: Mapping[str, BarView]) -> Decimal:
        total = ZERO
        for symbol, position in self.state.positions.items():
            view = views.get(symbol)
            total += position.size * (position.entry_price if view is None else to_decimal(view.close))
        return total

    # --- what happened ------------------------------------------------------------------------------------------

    def opened(self, order: EntryOrder, average: Decimal, size: Decimal, time_ms: int) -> Protection:
        """An entry was filled with `size` at `average` at exchange time `time_ms`: the levels to set now."""
        enter = order.enter
        protection = protection_of(enter, average, order.instrument)
        self.state.positions[enter.symbol] = OwnPosition(
            symbol=enter.symbol,
            direction=enter.direction,
            size=size,
            entry_price=average,
            opened_ms=time_ms,
            opened_bar_ms=time_ms - time_ms % self.interval_ms,
            stop_loss=protection.stop_loss,
            take_profit=protection.take_profit,
            trailing_distance=protection.trailing_distance,
            active_price=protection.active_price,
        )
        day_ms = order.close_ms - order.close_ms % DAY_MS
        if self.state.entries_day_ms != day_ms:
            self.state.entries_day_ms = day_ms
            self.state.entries.clear()
        self.state.entries[enter.symbol] = self.state.entries.get(enter.symbol, 0) + 1
        return protection

    def moved(self, stop: StopUpdate) -> None:
        """A stop was moved on the exchange, or is about to be (its meaning is saved before it is sent)."""
        position = self.state.positions[stop.symbol]
        position.stop_loss = stop.price
        position.stop_meaning = stop.meaning

    def closed(self, symbol: str, time_ms: int, decided_ms: int | None = None) -> None:
        """A position is gone since exchange time `time_ms`.

        `decided_ms` is the close of the bar whose evaluation closed it; None for every other exit, whose cooldown runs
        from the end of the bar that `time_ms` falls into.
        """
        self.state.positions.pop(symbol, None)
        end_ms = time_ms - time_ms % self.interval_ms + self.interval_ms
        self.state.cooldown_from_ms[symbol] = end_ms if decided_ms is None else decided_ms
        if not self.state.positions:
            self.limits.flat()

    def _close(self, position: OwnPosition, reason: Reason, why: str) -> CloseOrder:
        return CloseOrder(position.symbol, position.direction, position.size, reason, why)


def takes_entries(instrument: Instrument) -> bool:
    """True for an ordinary USDT perpetual that trades and whose end is not announced."""
    return (
        instrument.settle_coin == "USDT"
        and instrument.contract_type == "LinearPerpetual"
        and not instrument.symbol_type
        and instrument.status == "Trading"
        and not instrument.delivery_ms
    )


def _stretch(position: OwnPosition, view: BarView) -> None:
    # Floats that were read from at most 15 digits keep their order; making a Decimal of each would cost ten times as much.
    high, low = view.high, view.low
    if position.highest_high is None or high > float(position.highest_high):
        position.highest_high = to_decimal(high)
    if position.lowest_low is None or low < float(position.lowest_low):
        position.lowest_low = to_decimal(low)
