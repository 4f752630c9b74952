"""The decision core: a closed bar in, orders out. The live runtime and the back-tester drive the same object.

At each time at which bars close, in this order:

1. the exchange has done its part at this price (funding, stops); `closed` was told of every exit;
2. `see(now, equity, ...)` applies the account limits; its closes are carried out;
3. `close_bar` evaluates the bar; its cancellations (`upkeep`), its closes and then its stops are carried out;
4. `size` makes orders of the entries, all from one equity, read after the closes: market ones first, each carried out
   in turn, and `opened` gives the levels to set from the actual average price; then the resting ones;
5. `upkeep` sends the targets that came with them.

At the other points of a bar (first extreme, second extreme, close) only 1 and 2 happen. Wherever resting orders may have
been filled, 1 also tells their fills (`outcomes`), and `upkeep` follows.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from alpha.model.instrument import Instrument
from alpha.model.money import ZERO
from alpha.model.reason import Reason
from alpha.model.sizing import TooSmall, fit_qty, round_price, round_qty, round_stop, round_target
from alpha.strategy.bars import BarView, SomeViews, to_decimal
from alpha.strategy.base import BarContext, Portfolio, Strategy, StrategyState
from alpha.strategy.intents import CancelEntry, Enter, Exit, Intent, Limit, MoveStop, MoveTarget, OfEquity
from alpha.strategy.outcomes import CloseOrder, CoreState, EntryOrder, Outcomes, StopUpdate, Upkeep, intent_of_entry
from alpha.strategy.positions import OwnPosition, protection_of, stop_passed
from alpha.strategy.resting import RestingOrder, Role, fault_of, ref_of
from alpha.strategy.risk_limits import DAY_MS, Breach

__all__ = [
    "CloseOrder",
    "CoreState",
    "DecisionCore",
    "EntryOrder",
    "Plan",
    "Skipped",
    "StopUpdate",
    "Upkeep",
    "takes_entries",
]


@dataclass(frozen=True, slots=True)
class Skipped:
    """An intent that was not let through: why, and in a few words that count all of its kind."""

    symbol: str
    why: str
    kind: str = ""

    @property
    def counted(self) -> str:
        """The words under which it is counted."""
        return self.kind or self.why


@dataclass(slots=True)
class Plan:
    """What follows from a closed bar, in the order in which it is carried out. `entries` still need `size`."""

    bar_ms: int
    close_ms: int
    closes: list[CloseOrder] = field(default_factory=list)
    stops: list[StopUpdate] = field(default_factory=list)
    entries: list[Enter] = field(default_factory=list)
    resting: list[RestingOrder] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


class DecisionCore(Outcomes):
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
        super().__init__(strategy.rules, interval_ms, instrument_of, CoreState() if state is None else state)
        self.strategy = strategy
        self.strategy_state = strategy.state_type() if strategy_state is None else strategy_state

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

    def close_bar(
        self,
        bar_ms: int,
        views: Mapping[str, BarView],
        equity: Decimal | None = None,
        open_profit: Decimal | None = None,
    ) -> Plan:
        """Evaluate the bar that started at `bar_ms`: `views` holds every followed symbol that has it.

        `equity` and `open_profit` (USDT, before anything of this bar is carried out) are what the strategy is shown.
        Cancellations are noted on the resting orders; `upkeep` carries them out, before the plan's closes.
        """
        plan, moment = self.begin_bar(bar_ms, views, equity, open_profit)
        return self.end_bar(plan, moment, self.strategy.evaluate(moment, self.strategy_state), views)

    def begin_bar(
        self,
        bar_ms: int,
        views: Mapping[str, BarView],
        equity: Decimal | None = None,
        open_profit: Decimal | None = None,
    ) -> tuple[Plan, BarContext]:
        """The first half of `close_bar`: what the strategy is shown. `end_bar` must follow with its intents."""
        for symbol, position in self.state.positions.items():
            view = views.get(symbol)
            if view is not None and bar_ms >= position.opened_bar_ms:
                _stretch(position, view)
        self.state.last_bar_ms = bar_ms
        plan = Plan(bar_ms, bar_ms + self.interval_ms)
        for order in self.state.resting.values():
            if order.expires_ms and order.expires_ms <= plan.close_ms:
                order.leaving = True
        seen: Mapping[str, BarView] = {
            symbol: view for symbol, view in views.items() if view.ready or symbol in self.state.positions
        }  # what is held is always looked at: a missing indicator must not skip its exit
        if isinstance(views, SomeViews):
            seen = views.narrowed(seen)
        return plan, BarContext(bar_ms, plan.close_ms, seen, self._portfolio(equity, open_profit))

    def end_bar(self, plan: Plan, moment: BarContext, intents: list[Intent], views: Mapping[str, BarView]) -> Plan:
        """The second half of `close_bar`: what follows from the strategy's intents."""
        leaving = self._plan_exits(intents, views, plan)
        for intent in intents:
            if isinstance(intent, MoveStop) and intent.symbol not in leaving:
                self._plan_stop(intent, plan)
            elif isinstance(intent, MoveTarget) and intent.symbol not in leaving:
                self._move_target(intent, plan)
            elif isinstance(intent, CancelEntry):
                for order in self.entries_of(intent.symbol):
                    order.leaving = order.leaving or intent.tag in ("", order.tag)
        self._admit((intent for intent in intents if isinstance(intent, Enter)), leaving, moment.bars, plan)
        return plan

    def _portfolio(self, equity: Decimal | None, open_profit: Decimal | None) -> Portfolio:
        resting = self.state.resting
        if not resting:
            return Portfolio(self.state.positions, equity=equity, open_profit=open_profit)
        waiting = tuple(order for order in resting.values() if not order.leaving)
        return Portfolio(
            self.state.positions,
            tuple(order for order in waiting if order.role is Role.ENTRY),
            tuple(order for order in waiting if order.role is Role.TARGET),
            equity,
            open_profit,
        )

    def _plan_exits(self, intents: list[Intent], views: Mapping[str, BarView], plan: Plan) -> set[str]:
        """Plan the exits; returns the symbols whose whole position is closed at market."""
        leaving: set[str] = set()
        done: set[str] = set()
        for intent in intents:
            held = self.state.positions.get(intent.symbol) if isinstance(intent, Exit) else None
            if not isinstance(intent, Exit) or held is None:
                continue
            if intent.at is not None:
                self._plan_target(intent, intent.at, held, views, plan)
            elif intent.symbol not in done:
                done.add(intent.symbol)
                view = views.get(intent.symbol)
                close = self._close_of(intent, held, None if view is None else to_decimal(view.close), plan)
                if close is not None:
                    plan.closes.append(close)
                    if not close.part:
                        leaving.add(intent.symbol)
                        for order in self.entries_of(intent.symbol):
                            order.leaving = True
        return leaving

    def _close_of(self, intent: Exit, held: OwnPosition, price: Decimal | None, plan: Plan) -> CloseOrder | None:
        """The whole, or the part that the intent names; None, counted, for one that is not an order quantity."""
        instrument = self.instrument_of(intent.symbol)
        if intent.fraction >= 1 or instrument is None:
            return self._close(held, intent.reason, intent.why, intent.tag, price)
        qty = round_qty(held.size * intent.fraction, instrument) if intent.fraction > 0 else ZERO
        if qty < instrument.min_order_qty:
            plan.skipped.append(Skipped(intent.symbol, "the part to close is below the least order"))
            return None
        if held.size - qty < instrument.min_order_qty:
            return self._close(held, intent.reason, intent.why, intent.tag, price)
        return CloseOrder(intent.symbol, held.direction, qty, intent.reason, intent.why, True, intent.tag, price)

    def _plan_target(
        self, intent: Exit, at: Limit, held: OwnPosition, views: Mapping[str, BarView], plan: Plan
    ) -> None:
        """A resting exit: a target of its own. Together they never exceed the position."""
        instrument, view = self.instrument_of(intent.symbol), views.get(intent.symbol)
        if instrument is None or at.price <= 0 or intent.fraction <= 0:
            plan.skipped.append(Skipped(intent.symbol, "its price or fraction is not above zero"))
            return
        targets = [order for order in self.targets_of(intent.symbol) if not order.leaving]
        free = held.size - sum((order.leaves for order in targets), ZERO)
        qty = min(round_qty(held.size * min(intent.fraction, Decimal(1)), instrument), free)
        if qty < instrument.min_order_qty:
            plan.skipped.append(Skipped(intent.symbol, "targets cover the position"))
            return
        name = f"exit{sum(order.bar_ms == plan.bar_ms for order in targets)}"
        ref = ref_of(intent.symbol, plan.bar_ms, name)
        self.state.resting[ref] = RestingOrder(
            ref=ref,
            role=Role.TARGET,
            symbol=intent.symbol,
            direction=held.direction,
            price=round_price(at.price, held.direction.closing_side, instrument),
            qty=qty,
            bar_ms=plan.bar_ms,
            close_ms=plan.close_ms,
            intent=name,
            reason=intent.reason,
            post_only=at.post_only,
            tag=intent.tag,
            why=intent.why,
            decided_price=None if view is None else to_decimal(view.close),
        )

    def _plan_stop(self, move: MoveStop, plan: Plan) -> None:
        position = self.state.positions.get(move.symbol)
        instrument = self.instrument_of(move.symbol)
        if position is None or instrument is None:
            return
        price = round_stop(move.price, position.direction.value, instrument)
        if position.tightens(price):
            plan.stops.append(StopUpdate(move.symbol, position.direction, price, move.meaning, move.why))

    def _move_target(self, move: MoveTarget, plan: Plan) -> None:
        position = self.state.positions.get(move.symbol)
        instrument = self.instrument_of(move.symbol)
        if position is None or instrument is None:
            return
        price = round_target(move.price, position.direction.value, instrument)
        if price <= 0:
            plan.skipped.append(Skipped(move.symbol, "its price is not above zero"))
        elif not move.tag:
            if position.take_profit != price:
                position.take_profit, position.levels_due = price, True
        else:
            for order in self.targets_of(move.symbol):
                if order.tag == move.tag and not order.leaving:
                    order.price = price

    def _admit(self, enters: Iterable[Enter], leaving: set[str], seen: Mapping[str, BarView], plan: Plan) -> None:
        """Let through the entries that the rules allow, in the strategy's order."""
        rules = self.rules
        busy = {*self.state.positions} - leaving
        busy |= {
            order.symbol for order in self.state.resting.values() if order.role is Role.ENTRY and not order.leaving
        }
        admitted: list[Enter] = []
        for enter in enters:
            why = fault_of(enter)
            if why is None and enter.symbol in seen and not seen[enter.symbol].ready:
                why = "an indicator has no value"
            if why is None and enter.symbol in seen:
                why = seen[enter.symbol].without_score() or None
            if why is None:
                why = self._refusal(enter, plan.close_ms, leaving, admitted)
            full = rules.max_positions is not None and len(busy) >= rules.max_positions
            if why is None and full and enter.symbol not in busy:
                why = f"{rules.max_positions} positions are open"
            if why is None:
                admitted.append(enter)
                busy.add(enter.symbol)
            else:
                plan.skipped.append(Skipped(enter.symbol, why))
        plan.entries = admitted

    def _refusal(self, enter: Enter, close_ms: int, leaving: set[str], admitted: list[Enter]) -> str | None:
        symbol, held = enter.symbol, self.state.positions.get(enter.symbol)
        resting = self.entries_of(symbol)
        same_bar = [other for other in admitted if other.symbol == symbol]
        if held is not None:
            reverses = symbol in leaving and enter.direction is not held.direction
            if not reverses and (symbol in leaving or enter.direction is not held.direction):
                return "a position is open"
        waiting = {order.direction for order in resting} | {other.direction for other in same_bar}
        if waiting - {enter.direction}:
            return "an entry in the other direction waits"
        if enter.at is None and any(other.at is None for other in same_bar):
            return "one market entry a bar"
        made = 0 if held is None or symbol in leaving else 1 + held.adds
        if made + len(resting) + len(same_bar) > self.rules.max_adds:
            if not self.rules.max_adds and (made or resting or same_bar):
                return "a position is open" if made else "an entry waits already"
            if made or resting or same_bar:
                return f"{self.rules.max_adds} additions are the most"
        limit = self.limits.blocks_entries
        if limit is not None:
            return f"the limit {limit} is in force"
        since = close_ms if symbol in leaving else self.state.cooldown_from_ms.get(symbol)
        if made == 0 and since is not None and close_ms - since < self.rules.cooldown_ms:
            return "cooldown after the last exit"
        most = self.rules.entries_per_day
        if most is not None and self._entries_of_day(symbol, close_ms) + len(resting) + len(same_bar) >= most:
            return f"{most} entries today"
        return None

    def _entries_of_day(self, symbol: str, close_ms: int) -> int:
        return self.state.entries.get(symbol, 0) if close_ms - close_ms % DAY_MS == self.state.entries_day_ms else 0

    # --- entries ------------------------------------------------------------------------------------------------

    def size(self, plan: Plan, equity: Decimal, views: Mapping[str, BarView]) -> list[EntryOrder]:
        """Market orders for the plan's entries, from `equity` (USDT, read after the plan's closes); sized at the bar's
        close, resting ones (put into `plan.resting`) at their own price.

        An entry that is too small, or has no room under the exposure limit, is moved to `plan.skipped`.
        """
        orders: list[EntryOrder] = []
        if not plan.entries:
            return orders
        room = None
        if self.rules.max_exposure is not None:
            room = self.rules.max_exposure * equity - self._exposure(views)
        numbers: dict[str, int] = {}
        for enter in plan.entries:
            instrument = self.instrument_of(enter.symbol)
            view = views.get(enter.symbol)
            if instrument is None or view is None or not takes_entries(instrument):
                plan.skipped.append(Skipped(enter.symbol, "the exchange takes no new entries in it"))
                continue
            close = to_decimal(view.close)
            price = close if enter.at is None else round_price(enter.at.price, enter.direction.value, instrument)
            size = enter.size
            notional = (size.fraction * equity if isinstance(size, OfEquity) else size.usdt) * self.limits.scale
            if room is not None:
                notional = min(notional, room)
            if notional <= 0:
                kind = "no room is left under the exposure limit"
                plan.skipped.append(Skipped(enter.symbol, f"{enter.symbol}: {kind}.", kind))
                continue
            if price <= 0 or (not isinstance(enter.at, Limit) and enter.at is not None and price == close):
                plan.skipped.append(Skipped(enter.symbol, "its price is the market's own"))
                continue
            try:
                qty = fit_qty(notional / price, price, instrument, market=not isinstance(enter.at, Limit))
            except TooSmall as small:
                plan.skipped.append(Skipped(enter.symbol, str(small), "it is below the least order"))
                continue
            stop = self._carried_stop(enter, price, instrument)
            if stop_passed(enter.direction, stop, price):
                plan.skipped.append(Skipped(enter.symbol, "the stop in force lies beyond its price"))
                continue
            if room is not None:
                room -= qty * price
            number = numbers.get(enter.symbol, 0)
            numbers[enter.symbol] = number + 1
            if enter.at is None:
                orders.append(EntryOrder(enter, qty, stop, price, plan.bar_ms, plan.close_ms, instrument, number))
            else:
                plan.resting.append(self._resting(enter, qty, price, close, stop, plan, number))
        return orders

    def _carried_stop(self, enter: Enter, price: Decimal, instrument: Instrument) -> Decimal:
        """The stop that an entry's order carries: an addition's is never looser than the one in force."""
        stop = protection_of(enter, price, instrument).stop_loss
        held = self.state.positions.get(enter.symbol)
        return stop if held is None or held.tightens(stop) else held.stop_loss

    def _resting(
        self, enter: Enter, qty: Decimal, price: Decimal, close: Decimal, stop: Decimal, plan: Plan, number: int
    ) -> RestingOrder:
        intent = intent_of_entry(number)
        return RestingOrder(
            ref=ref_of(enter.symbol, plan.bar_ms, intent),
            role=Role.ENTRY,
            symbol=enter.symbol,
            direction=enter.direction,
            price=price,
            qty=qty,
            bar_ms=plan.bar_ms,
            close_ms=plan.close_ms,
            intent=intent,
            reason=Reason.ENTRY,
            trigger=not isinstance(enter.at, Limit),
            rising=price > close,
            post_only=isinstance(enter.at, Limit) and enter.at.post_only,
            expires_ms=plan.close_ms + enter.valid_bars * self.interval_ms,
            stop_loss=stop,
            stop=enter.stop,
            take_profit=enter.take_profit,
            trailing=enter.trailing,
            targets=enter.targets,
            tag=enter.tag,
            why=enter.why,
            decided_price=close,
        )

    def _exposure(self, views: Mapping[str, BarView]) -> Decimal:
        total = ZERO
        for symbol, position in self.state.positions.items():
            view = views.get(symbol)
            total += position.size * (position.entry_price if view is None else to_decimal(view.close))
        entries = (o for o in self.state.resting.values() if o.role is Role.ENTRY and not o.leaving)
        return total + sum((order.leaves * order.price for order in entries), ZERO)

    def _close(
        self, position: OwnPosition, reason: Reason, why: str, tag: str = "", price: Decimal | None = None
    ) -> CloseOrder:
        return CloseOrder(position.symbol, position.direction, position.size, reason, why, tag=tag, price=price)


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
