"""What happened to orders, and what it makes of positions. One half of the decision core; pure, like the other.

Facts come in the order of the exchange: `opened` and `reduced` for market orders whose outcome is known at once,
`entry_filled`, `target_filled` and `order_ended` for resting ones, `closed` for the end of a position. `upkeep` tells what
the exchange must be told because of them; live and in the back-test it is carried out in the same order.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

import msgspec

from alpha.model.instrument import Instrument
from alpha.model.money import ONE, ZERO
from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.model.sizing import round_qty, round_target
from alpha.strategy.intents import Enter
from alpha.strategy.positions import OwnPosition, Protection, protection_of, stop_passed
from alpha.strategy.resting import Phase, RestingOrder, Role, cut_by_exchange, ref_of, trim
from alpha.strategy.risk_limits import DAY_MS, LimitState, RiskLimits
from alpha.strategy.risk_rules import Rules


class CoreState(msgspec.Struct):
    """What the core must remember beside the strategy's own state. Times are business time, UTC milliseconds."""

    last_bar_ms: int = -1
    positions: dict[str, OwnPosition] = msgspec.field(default_factory=dict)
    cooldown_from_ms: dict[str, int] = msgspec.field(default_factory=dict)
    entries_day_ms: int = -1
    entries: dict[str, int] = msgspec.field(default_factory=dict)
    limits: LimitState = msgspec.field(default_factory=LimitState)
    resting: dict[str, RestingOrder] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CloseOrder:
    """Close `size` of a position by a reduce-only market order; `part`: some of it stays.

    `price` is the close at which it was decided, None where an account limit decided.
    """

    symbol: str
    direction: Direction
    size: Decimal
    reason: Reason
    why: str
    part: bool = False
    tag: str = ""
    price: Decimal | None = None


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
    """Open a position, or add to one: a market order of `qty` that carries `stop_loss`.

    `stop_loss` is measured from the close of the bar that decided; after the fill the levels are set anew from the
    average price. Where the market has already passed it when the order arrives, there is no entry (`too_late`).
    `number` counts the entries of this bar in the symbol, from 0.
    """

    enter: Enter
    qty: Decimal
    stop_loss: Decimal
    price: Decimal
    bar_ms: int
    close_ms: int
    instrument: Instrument
    number: int = 0

    @property
    def intent(self) -> str:
        """What its order id is made of."""
        return intent_of_entry(self.number)

    def too_late(self, last: Decimal) -> bool:
        """True when the market at `last` has passed the stop that the order carries: it would be refused."""
        return stop_passed(self.enter.direction, self.stop_loss, last)


def intent_of_entry(number: int) -> str:
    """The name of a symbol's entry number `number` of a bar."""
    return "enter" if number == 0 else f"enter{number + 1}"


@dataclass(slots=True)
class Upkeep:
    """What the exchange must be told, in this order: cancel, set levels, send targets, amend targets."""

    cancels: list[RestingOrder] = field(default_factory=list)
    protects: list[OwnPosition] = field(default_factory=list)
    sends: list[RestingOrder] = field(default_factory=list)
    amends: list[RestingOrder] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.cancels or self.protects or self.sends or self.amends)


class Outcomes:
    """Positions and resting orders, as facts arrive."""

    def __init__(
        self, rules: Rules, interval_ms: int, instrument_of: Callable[[str], Instrument | None], state: CoreState
    ) -> None:
        self.rules = rules
        self.interval_ms = interval_ms
        self.instrument_of = instrument_of
        self.state = state
        self.limits = RiskLimits(rules.loss_limits, rules.open_profit, state.limits)

    @property
    def positions(self) -> dict[str, OwnPosition]:
        """The positions of the bot's own making."""
        return self.state.positions

    @property
    def symbols(self) -> list[str]:
        """Symbols that are held or in which an order rests."""
        return list(dict.fromkeys((*self.state.positions, *(order.symbol for order in self.state.resting.values()))))

    @property
    def resting(self) -> dict[str, RestingOrder]:
        """Its resting orders, by their names."""
        return self.state.resting

    def entries_of(self, symbol: str) -> list[RestingOrder]:
        """The resting entries of a symbol that are not to be cancelled, oldest first."""
        return [
            order
            for order in self.state.resting.values()
            if order.symbol == symbol and order.role is Role.ENTRY and not order.leaving
        ]

    def targets_of(self, symbol: str) -> list[RestingOrder]:
        """The targets of a symbol, oldest first."""
        return [o for o in self.state.resting.values() if o.symbol == symbol and o.role is Role.TARGET]

    # --- market orders ------------------------------------------------------------------------------------------

    def opened(self, order: EntryOrder, average: Decimal, size: Decimal, time_ms: int) -> Protection:
        """A market entry was filled with `size` at `average` at exchange time `time_ms`: the levels to set now."""
        position = self._grow(order.enter, order.instrument, average, size, time_ms, order.close_ms, first_fill=True)
        position.levels_due = position.adds > 0  # those of a new position are set by the caller, at once
        ref = ref_of(order.enter.symbol, order.bar_ms, order.intent)
        self._aim(order.enter, ref, size, order.bar_ms, order.close_ms, order.instrument, [])
        return position.levels

    def reduced(self, symbol: str, qty: Decimal) -> None:
        """A market order has closed a part of a position."""
        position = self.state.positions[symbol]
        position.size -= qty
        self._resized(position)

    def moved(self, stop: StopUpdate) -> None:
        """A stop was moved on the exchange, or is about to be (its meaning is saved before it is sent)."""
        position = self.state.positions[stop.symbol]
        position.stop_loss = stop.price
        position.stop_meaning = stop.meaning

    def closed(self, symbol: str, time_ms: int, decided_ms: int | None = None) -> None:
        """A position is gone since exchange time `time_ms`.

        `decided_ms` is the close of the bar whose evaluation closed it; None for every other exit, whose cooldown runs
        from the end of the bar that `time_ms` falls into. Its targets and the symbol's resting entries leave with it.
        """
        self.state.positions.pop(symbol, None)
        for order in list(self.state.resting.values()):
            if order.symbol == symbol:
                order.leaving = True
        end_ms = time_ms - time_ms % self.interval_ms + self.interval_ms
        self.state.cooldown_from_ms[symbol] = end_ms if decided_ms is None else decided_ms
        if not self.state.positions:
            self.limits.flat()

    # --- resting orders -----------------------------------------------------------------------------------------

    def rest(self, order: RestingOrder) -> None:
        """A resting order is about to be sent."""
        order.phase = Phase.SENDING
        order.sent_price, order.sent_qty = order.price, order.qty
        self.state.resting[order.ref] = order

    def entry_filled(self, ref: str, qty: Decimal, price: Decimal, time_ms: int) -> None:
        """`qty` of a resting entry was filled at `price`."""
        order = self.state.resting.get(ref)
        instrument = None if order is None else self.instrument_of(order.symbol)
        if order is None or instrument is None:
            return
        first_fill = not order.filled
        order.filled += qty
        enter = order.enter()
        self._grow(enter, instrument, price, qty, time_ms, order.close_ms, first_fill=first_fill)
        self._aim(enter, ref, order.filled, order.bar_ms, order.close_ms, instrument, order.aimed)
        if order.filled >= order.qty:
            del self.state.resting[ref]

    def target_filled(self, ref: str, qty: Decimal, price: Decimal, time_ms: int) -> bool:
        """`qty` of a target was filled at `price`; True when that closed the position."""
        order = self.state.resting.get(ref)
        position = None if order is None else self.state.positions.get(order.symbol)
        if order is None or position is None:
            return False
        order.filled += qty
        if order.filled >= order.qty:
            del self.state.resting[ref]
        position.size -= qty
        if position.size <= 0:
            self.closed(position.symbol, time_ms)
            return True
        self._resized(position)
        return False

    def order_ended(self, ref: str) -> None:
        """A resting order is not on the exchange any more."""
        self.state.resting.pop(ref, None)

    def upkeep(self) -> Upkeep:
        """What the exchange must be told now. An account limit that lets no entry through takes resting ones away."""
        work = Upkeep()
        resting = self.state.resting
        if not resting and not any(position.levels_due for position in self.state.positions.values()):
            return work
        blocked = self.limits.blocks_entries is not None
        for ref, order in list(resting.items()):
            if blocked and order.role is Role.ENTRY:
                order.leaving = True
            if order.leaving and order.phase is Phase.NEW:
                del resting[ref]
            elif order.leaving:
                work.cancels.append(order)
            elif order.phase is Phase.NEW:
                work.sends.append(order)
            elif (
                order.role is Role.TARGET
                and order.phase is Phase.OPEN
                and (order.price, order.qty) != (order.sent_price, order.sent_qty)
            ):
                work.amends.append(order)
        work.protects = [position for position in self.state.positions.values() if position.levels_due]
        return work

    # --- what follows -------------------------------------------------------------------------------------------

    def _grow(
        self,
        enter: Enter,
        instrument: Instrument,
        price: Decimal,
        qty: Decimal,
        time_ms: int,
        close_ms: int,
        *,
        first_fill: bool,
    ) -> OwnPosition:
        """A position is opened or grows by `qty` at `price`. A stop in force is never loosened by an addition."""
        position = self.state.positions.get(enter.symbol)
        if position is None:
            levels = protection_of(enter, price, instrument)
            position = self.state.positions[enter.symbol] = OwnPosition(
                symbol=enter.symbol,
                direction=enter.direction,
                size=qty,
                entry_price=price,
                opened_ms=time_ms,
                opened_bar_ms=time_ms - time_ms % self.interval_ms,
                stop_loss=levels.stop_loss,
                take_profit=levels.take_profit,
                trailing_distance=levels.trailing_distance,
                active_price=levels.active_price,
                tag=enter.tag,
                trailing_due=levels.trailing_distance is not None,
            )
        else:
            total = position.size + qty
            position.entry_price = (position.entry_price * position.size + price * qty) / total
            position.size = total
            position.adds += first_fill
            levels = protection_of(enter, position.entry_price, instrument)
            if position.tightens(levels.stop_loss):
                position.stop_loss, position.stop_meaning = levels.stop_loss, Reason.STOP_LOSS
            if levels.take_profit is not None:
                position.take_profit = levels.take_profit
            trailing = (levels.trailing_distance, levels.active_price)
            if enter.trailing is not None and trailing != (position.trailing_distance, position.active_price):
                position.trailing_distance, position.active_price = trailing
                position.trailing_due = True
        position.levels_due = True
        if first_fill:
            day_ms = close_ms - close_ms % DAY_MS
            if self.state.entries_day_ms != day_ms:
                self.state.entries_day_ms = day_ms
                self.state.entries.clear()
            self.state.entries[enter.symbol] = self.state.entries.get(enter.symbol, 0) + 1
        return position

    def _aim(
        self,
        enter: Enter,
        ref: str,
        filled: Decimal,
        bar_ms: int,
        close_ms: int,
        instrument: Instrument,
        aimed: list[int],
    ) -> None:
        """Make the targets that an entry brings, or let them grow with what it has filled."""
        if not enter.targets:
            return
        position = self.state.positions[enter.symbol]
        whole = sum((target.share for target in enter.targets), ZERO) == ONE
        left = filled
        for number, target in enumerate(enter.targets):
            qty = round_qty(filled * target.share, instrument)
            if whole and number == len(enter.targets) - 1:
                qty = left
            left -= qty
            name = f"{ref}/{number}"
            order = self.state.resting.get(name)
            if order is None and number not in aimed and qty >= instrument.min_order_qty:
                aimed.append(number)
                price = position.entry_price * (1 + enter.direction.sign * target.distance)
                self.state.resting[name] = RestingOrder(
                    ref=name,
                    role=Role.TARGET,
                    symbol=enter.symbol,
                    direction=enter.direction,
                    price=max(round_target(price, enter.direction.value, instrument), instrument.tick_size),
                    qty=qty,
                    bar_ms=bar_ms,
                    close_ms=close_ms,
                    intent=f"target {name}",
                    reason=Reason.TAKE_PROFIT,
                    entry_ref=ref,
                    tag=target.tag,
                    why=enter.why,
                )
            elif order is not None and not order.leaving:
                order.qty = max(order.qty, qty)
        trim(self.targets_of(enter.symbol), position.size, instrument)

    def _resized(self, position: OwnPosition) -> None:
        """A position has shrunk: its targets together never exceed it."""
        targets = self.targets_of(position.symbol)
        instrument = self.instrument_of(position.symbol)
        if targets and instrument is not None:
            cut_by_exchange(targets, position.size)
            trim(targets, position.size, instrument)
