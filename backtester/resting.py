"""Resting orders in a back-test: the same walk of a candle as the simulated exchange's in step clock.

Between two points the price runs through every level that waits, in order; at equal prices the older order is first. A
jump meets all of them at once. A limit order fills at its own price and the maker's fee when the price trades through
it by a tick; a trigger fires at its price, a stop at its own; a jump fires triggers and stops at the price jumped to.
"""

from dataclasses import dataclass
from decimal import Decimal

from alpha.model.money import ONE, ZERO
from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.bars import to_decimal
from alpha.strategy.positions import stop_passed
from alpha.strategy.resting import RestingOrder, Role
from backtester.position import HeldPosition
from backtester.venue import ClosedPosition, Fill, Venue

WOULD_TAKE = "a post-only order would have taken"
NO_MARGIN = "not enough margin"
ENDED = "the contract has ended"


@dataclass(slots=True)
class Waiting:
    """One order in the book. `level` is the price at which it fires; `rising`: on the way up."""

    order: RestingOrder
    leaves: Decimal
    price: Decimal
    level: Decimal
    rising: bool
    serial: int

    @property
    def is_entry(self) -> bool:
        """True for an entry, False for a target."""
        return self.order.role is Role.ENTRY


@dataclass(frozen=True, slots=True)
class RestingFill:
    """A resting order was filled with `qty` at `price`; `departure` when that closed the position."""

    order: RestingOrder
    qty: Decimal
    price: Decimal
    time_ms: int
    departure: ClosedPosition | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A resting order is gone without having been filled, and why."""

    order: RestingOrder
    why: str


@dataclass(frozen=True, slots=True)
class Left:
    """The exchange closed a position, by a level or by liquidation."""

    departure: ClosedPosition


RestingEvent = RestingFill | Ended | Left


class RestingVenue(Venue):
    """The account with its resting orders. What happens is appended to `events`."""

    waiting: dict[str, list[Waiting]]
    events: list[RestingEvent]

    def begin(self) -> "RestingVenue":
        """With no order in the book."""
        self.waiting = {}
        self.events = []
        self._serial = 0
        return self

    # --- requests -----------------------------------------------------------------------------------------------

    def next_serial(self) -> int:
        """The rank of the next order in time."""
        self._serial += 1
        return self._serial

    def place(self, order: RestingOrder, time_ms: int) -> None:
        """An order arrives at the last price: refused, filled at once, or it waits."""
        held = self.holdings.get(order.symbol)
        last = self.price(order.symbol)
        if order.role is Role.TARGET:
            if held is None or held.direction is not order.direction:
                self.events.append(Ended(order, "there is no such position"))
                return
            leaves = min(order.leaves, held.size)
        else:
            leaves = order.leaves
            if order.trigger and (last >= order.price if order.rising else last <= order.price):
                self.events.append(Ended(order, "the market had passed the trigger"))
                return
            if not order.trigger and self._needs(leaves, order.price) > max(self._available(), ZERO):
                self.events.append(Ended(order, NO_MARGIN))
                return
        self._arrive(Waiting(order, leaves, order.price, order.price, order.rising, self.next_serial()), time_ms)

    def cancel(self, order: RestingOrder) -> None:
        """The owner cancels an order."""
        for one in self.waiting.get(order.symbol, []):
            if one.order.ref == order.ref:
                self._drop(one)
                return

    def amend(self, order: RestingOrder, time_ms: int) -> None:
        """The owner changes price and quantity; one whose price is met now trades at once. It keeps its rank."""
        for one in list(self.waiting.get(order.symbol, [])):
            if one.order.ref == order.ref:
                one.leaves = order.qty - order.filled
                if one.price != order.price:
                    self._drop(one)
                    one.price = order.price
                    self._arrive(one, time_ms)
                return

    def part(self, symbol: str, qty: Decimal, time_ms: int) -> None:
        """A market order closes a part of a position at the last price."""
        held = self.holdings[symbol]
        price = self.slipped(symbol, self.price(symbol), buy=held.direction is Direction.SHORT, qty=qty)
        self._part(held, qty, price, self.costs.taker_fee, time_ms)

    def add(self, symbol: str, size: Decimal, stop: Decimal, time_ms: int) -> Decimal:
        """A market order adds to a position and sets its stop; returns its price."""
        held = self.holdings[symbol]
        price = self.slipped(symbol, self.price(symbol), buy=held.direction is Direction.LONG, qty=size)
        fee = price * size * self.costs.taker_fee
        self.wallet -= fee
        held.add(size, price, fee)
        self.fills.append(Fill(symbol, held.direction.value, size, price, fee, time_ms))
        held.move_stop(stop)
        return price

    # --- the market moves ---------------------------------------------------------------------------------------

    def meets_waiting(self, lows: dict[str, float], highs: dict[str, float]) -> bool:
        """True when a price between these fires a resting order."""
        for symbol, orders in self.waiting.items():
            low, high = lows[symbol], highs[symbol]
            for one in orders:
                level = float(one.level)
                if level <= high if one.rising else level >= low:
                    return True
        return False

    def walk(self, symbol: str, to: float, time_ms: int, *, jump: bool) -> None:
        """The price of a symbol runs, or jumps, to `to`."""
        target, last = to_decimal(to), self.price(symbol)
        up = target > last
        if jump:
            self.last[symbol] = to
            held = self.holdings.get(symbol)
            if held is not None and self.equity() <= self._maintenance():
                self._bust(time_ms)
        if jump or target != last:
            while self._fire_next(symbol, target, up, jump, time_ms):
                pass
        self.last[symbol] = to
        held = self.holdings.get(symbol)
        if held is not None:
            held.follow(target)

    def _fire_next(self, symbol: str, target: Decimal, up: bool, jump: bool, time_ms: int) -> bool:
        """Fire whatever waits nearest on the way to `target`; False when nothing does."""
        held = self.holdings.get(symbol)
        best: tuple[Decimal, int] | None = None
        what: Waiting | Reason | None = None
        for at, serial, item in self._levels(symbol, held, up):
            if at > target if up else at < target:
                continue
            rank = (at if up else -at, serial)
            if best is None or rank < best:
                best, what = rank, item
        nearest = None if best is None else (best[0] if up else -best[0])
        if held is not None and (held.sign < 0) == up:
            further = ((held.trail, Reason.TRAILING_STOP), (self._liquidation_price(held), Reason.LIQUIDATION))
            for level, reason in further:
                if level is None or level <= 0 or (level > target if up else level < target):
                    continue
                if nearest is None or (level < nearest if up else level > nearest):
                    nearest, what = level, reason
        if nearest is None or what is None:
            return False
        if not jump:
            last = self.price(symbol)
            self.last[symbol] = float(max(nearest, last) if up else min(nearest, last))
            if held is not None:
                held.follow(self.price(symbol))
        if isinstance(what, Waiting):
            self._fire(what, time_ms)
        elif what is Reason.LIQUIDATION:
            self._bust(time_ms)
        else:
            self._stop_out(symbol, what, time_ms)
        return True

    def _levels(self, symbol: str, held: HeldPosition | None, up: bool) -> list[tuple[Decimal, int, Waiting | Reason]]:
        found: list[tuple[Decimal, int, Waiting | Reason]] = [
            (one.level, one.serial, one) for one in self.waiting.get(symbol, []) if one.rising == up
        ]
        if held is not None:
            if held.stop is not None and (held.sign < 0) == up:
                found.append((held.stop, held.stop_serial, Reason.STOP_LOSS))
            if held.target is not None and (held.sign > 0) == up:
                found.append((held.target, held.target_serial, Reason.TAKE_PROFIT))
        return found

    # --- fills --------------------------------------------------------------------------------------------------

    def _arrive(self, one: Waiting, time_ms: int) -> None:
        """An order meets the market, or waits."""
        order, symbol = one.order, one.order.symbol
        tick = self._instruments[symbol].tick_size
        buy = order.side == Direction.LONG.value
        if order.trigger:
            self.waiting.setdefault(symbol, []).append(one)
            return
        price = self.slipped(symbol, self.price(symbol), buy=buy)
        if price <= one.price if buy else price >= one.price:
            got = self.slipped(symbol, self.price(symbol), buy=buy, qty=one.leaves)
            price = min(got, one.price) if buy else max(got, one.price)
            if order.post_only:
                self.events.append(Ended(order, WOULD_TAKE))
            elif one.is_entry:
                self._enter(one, price, self.costs.taker_fee, time_ms)
            else:
                self._exit(one, price, self.costs.taker_fee, time_ms)
            return
        one.level, one.rising = (one.price - tick, False) if buy else (one.price + tick, True)
        self.waiting.setdefault(symbol, []).append(one)

    def _fire(self, one: Waiting, time_ms: int) -> None:
        order, symbol = one.order, one.order.symbol
        self._drop(one)
        if order.trigger:
            buy = order.side == Direction.LONG.value
            price = self.slipped(symbol, self.price(symbol), buy=buy)
            if self._needs(one.leaves, price) > max(self._available(), ZERO):
                self.events.append(Ended(order, NO_MARGIN))
                return
            price = self.slipped(symbol, self.price(symbol), buy=buy, qty=one.leaves)
            self._enter(one, price, self.costs.taker_fee, time_ms)
        elif one.is_entry:
            self._enter(one, one.price, self.costs.maker_fee, time_ms)
        else:
            self._exit(one, one.price, self.costs.maker_fee, time_ms)

    def _enter(self, one: Waiting, price: Decimal, rate: Decimal, time_ms: int) -> None:
        order, symbol, qty = one.order, one.order.symbol, one.leaves
        fee = price * qty * rate
        self.wallet -= fee
        self.fills.append(Fill(symbol, order.direction.value, qty, price, fee, time_ms))
        held = self.holdings.get(symbol)
        if held is None:
            held = self.holdings[symbol] = HeldPosition(symbol, order.direction, qty, price, fee, time_ms)
            held.stop_serial = self.next_serial()
        else:
            held.add(qty, price, fee)
        self.events.append(RestingFill(order, qty, price, time_ms))
        if order.stop_loss is not None:
            held.move_stop(order.stop_loss)
            if stop_passed(order.direction, order.stop_loss, self.price(symbol)):
                self._stop_out(symbol, Reason.STOP_LOSS, time_ms)
        if self.holdings and self.equity() <= self._maintenance():
            self._bust(time_ms)

    def _exit(self, one: Waiting, price: Decimal, rate: Decimal, time_ms: int) -> None:
        order, symbol = one.order, one.order.symbol
        held = self.holdings[symbol]
        qty = min(one.leaves, held.size)
        if qty < held.size:
            self._part(held, qty, price, rate, time_ms)
            self.events.append(RestingFill(order, qty, price, time_ms))
            return
        departure = self._leave_at(held, price, rate, time_ms, order.reason)
        self.events.append(RestingFill(order, qty, price, time_ms, departure))
        self._drop_targets(symbol)

    def _part(self, held: HeldPosition, qty: Decimal, price: Decimal, rate: Decimal, time_ms: int) -> None:
        fee = price * qty * rate
        self.wallet += held.part(qty, price, fee) - fee
        self.fills.append(Fill(held.symbol, held.direction.closing_side, qty, price, fee, time_ms))
        for one in self.waiting.get(held.symbol, []):
            if not one.is_entry:
                one.leaves = min(one.leaves, held.size)

    def _stop_out(self, symbol: str, reason: Reason, time_ms: int) -> None:
        self.events.append(Left(self.close(symbol, time_ms, reason)))

    def close(self, symbol: str, time_ms: int, reason: Reason) -> ClosedPosition:
        """A market order that closes the whole position at the last price; its targets end with it."""
        departure = super().close(symbol, time_ms, reason)
        self._drop_targets(symbol)
        return departure

    def settle(self, symbol: str, time_ms: int, why: str = ENDED) -> ClosedPosition:
        """The end of a contract or of what is known of it: its orders are cancelled, its position is closed at the last price."""
        for one in self.waiting.pop(symbol, []):
            self.events.append(Ended(one.order, why))
        held = self.holdings[symbol]
        return self._leave(held, self.price(symbol), time_ms, Reason.SETTLEMENT)

    def _bust(self, time_ms: int) -> None:
        """Every order is cancelled, then every position is taken over."""
        for orders in list(self.waiting.values()):
            for one in list(orders):
                self._drop(one)
                self.events.append(Ended(one.order, "the account was liquidated"))
        self.events.extend(Left(departure) for departure in self._take_over(time_ms))

    # --- the book -----------------------------------------------------------------------------------------------

    def _drop(self, one: Waiting) -> None:
        orders = self.waiting.get(one.order.symbol, [])
        if one in orders:
            orders.remove(one)
        if not orders:
            self.waiting.pop(one.order.symbol, None)

    def _drop_targets(self, symbol: str) -> None:
        for one in list(self.waiting.get(symbol, [])):
            if not one.is_entry:
                self._drop(one)
                self.events.append(Ended(one.order, "the position is closed"))

    # --- margin -------------------------------------------------------------------------------------------------

    def _needs(self, qty: Decimal, price: Decimal) -> Decimal:
        return qty * price * (ONE / self.leverage + 2 * self.costs.taker_fee)

    def _available(self) -> Decimal:
        if not self.waiting:
            return super()._available()
        used = sum(
            (
                self._needs(one.leaves, one.price)
                for orders in self.waiting.values()
                for one in orders
                if one.is_entry and not one.order.trigger
            ),
            ZERO,
        )
        return super()._available() - used
