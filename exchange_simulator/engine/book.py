"""The market of one symbol as the engine sees it: the last price, a book made around it, and what waits for a price.

Levels that wait lie strictly beyond the last price, in two heaps: those that fire when it falls and those that fire
when it rises. An entry whose order has closed or moved since (its `version`) is skipped when it comes up. On recorded
ticks the best bid and offer are the recorded ones.
"""

from collections.abc import Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from exchange_simulator.engine.account import Account
from exchange_simulator.engine.model import BUY, ZERO, Order, Rules
from exchange_simulator.market.model import Instrument

MAX_LEVELS = 200
STALE_LIMIT = 1000
_BPS = Decimal(10_000)
_UNLIMITED = Decimal("1e15")


class Best(NamedTuple):
    """A recorded best bid and offer: price and size, None for an empty side."""

    bid: tuple[Decimal, Decimal] | None
    ask: tuple[Decimal, Decimal] | None


class Book:
    """State of one symbol's market."""

    def __init__(self, instrument: Instrument, rules: Rules) -> None:
        self.instrument = instrument
        self.rules = rules
        self.last = ZERO
        self.mark = ZERO
        self.mark_follows = True  # the mark is the last price; else it stands where it was put
        self.tick_direction = "ZeroPlusTick"
        self.seq = 0
        self.falling: list[tuple[Decimal, int, int, Order]] = []  # keyed by -level
        self.rising: list[tuple[Decimal, int, int, Order]] = []  # keyed by level
        self.index_waiting: dict[str, Order] = {}
        self.mark_waiting: dict[str, Order] = {}  # while the mark does not follow the last price
        self.trailing: dict[str, Order] = {}
        self.holders: dict[int, Account] = {}
        self.best: Best | None = None  # the newest recorded quote
        self._quoted = False
        self._stale = 0
        self._spread()

    def _spread(self) -> None:
        tick, ticks = self.instrument.tick_size, 0 if self._quoted else self.rules.spread_ticks
        self._below = (ticks // 2) * tick
        self._above = (ticks - ticks // 2) * tick
        self._through = self.rules.through_ticks * tick

    def follow_quotes(self) -> None:
        """From now on the best bid and offer are those of `best`; none are made around the last price."""
        self._quoted = True
        self._spread()

    def split(self, ratio: Decimal) -> None:
        """Prices after a split, on the tick that the instrument has by now. No order may wait any more."""
        self.last /= ratio
        self.mark /= ratio
        self._spread()

    @property
    def bid(self) -> Decimal:
        if self.best is not None and self.best.bid is not None:
            return self.best.bid[0]
        return max(self.last - self._below, self.instrument.tick_size)

    @property
    def ask(self) -> Decimal:
        if self.best is not None and self.best.ask is not None:
            return self.best.ask[0]
        return self.last + self._above

    @property
    def quiet(self) -> bool:
        """True when nothing here cares where the price goes."""
        return not (self.falling or self.rising or self.trailing or self.holders or self.index_waiting)

    def next_seq(self) -> int:
        self.seq += 1
        return self.seq

    # --- what waits for a price ---------------------------------------------------------------------------------

    def wait_limit(self, order: Order) -> None:
        """A resting limit order fires once the opposite side of the book reaches its price, or trades through it by as
        many ticks as the rules ask for.
        """
        if order.side == BUY:
            self._wait_fall(order, order.price - self._above - self._through)
        else:
            self._wait_rise(order, order.price + self._below + self._through)

    def wait_trigger(self, order: Order) -> None:
        """A conditional order fires at its trigger price. By index, or by a mark of its own, it is looked at after each
        move of that price instead.
        """
        if order.trail_distance is not None:
            self.trailing[order.order_id] = order
        elif order.trigger_by == "IndexPrice":
            self.index_waiting[order.order_id] = order
        elif order.trigger_by == "MarkPrice" and not self.mark_follows:
            self.mark_waiting[order.order_id] = order
        elif order.trigger_price is not None and order.trigger_direction == 1:
            self._wait_rise(order, order.trigger_price)
        elif order.trigger_price is not None:
            self._wait_fall(order, order.trigger_price)

    def wait_beyond(self, order: Order) -> None:
        """What was left of a resting order when the price only touched it waits for the next tick beyond."""
        tick = self.instrument.tick_size
        if order.side == BUY:
            self._wait_fall(order, order.price - self._above - tick)
        else:
            self._wait_rise(order, order.price + self._below + tick)

    def _wait_fall(self, order: Order, level: Decimal) -> None:
        heappush(self.falling, (-level, order.serial, order.version, order))

    def _wait_rise(self, order: Order, level: Decimal) -> None:
        heappush(self.rising, (level, order.serial, order.version, order))

    def forget(self, order: Order) -> None:
        """The order closed or its level moved: its entries no longer count."""
        order.version += 1
        self.index_waiting.pop(order.order_id, None)
        self.mark_waiting.pop(order.order_id, None)
        self.trailing.pop(order.order_id, None)
        self._stale += 1
        if self._stale > STALE_LIMIT and self._stale * 2 > len(self.falling) + len(self.rising):
            self._stale = 0
            for heap in (self.falling, self.rising):
                heap[:] = [entry for entry in heap if entry[3].version == entry[2] and entry[3].open]
                heapify(heap)

    def next_falling(self) -> tuple[Decimal, Order] | None:
        """Highest level below the price with its order; stale entries are dropped on the way."""
        heap = self.falling
        while heap:
            key, _, version, order = heap[0]
            if order.version == version and order.open:
                return -key, order
            heappop(heap)
        return None

    def next_rising(self) -> tuple[Decimal, Order] | None:
        heap = self.rising
        while heap:
            key, _, version, order = heap[0]
            if order.version == version and order.open:
                return key, order
            heappop(heap)
        return None

    def crossed(self) -> list[Order]:
        """Resting limit orders that the recorded quote has reached, best price first."""
        if self.best is None:
            return []
        bid, ask = self.best
        buys, sells = (
            [order for _, _, version, order in heap if order.version == version and order.open and not order.waiting]
            for heap in (self.falling, self.rising)
        )
        bought = [order for order in buys if ask is not None and order.price >= ask[0]]
        sold = [order for order in sells if bid is not None and order.price <= bid[0]]
        return [
            *sorted(bought, key=lambda order: (-order.price, order.serial)),
            *sorted(sold, key=lambda order: (order.price, order.serial)),
        ]

    # --- the made book ------------------------------------------------------------------------------------------

    def levels(self, side: str) -> Iterator[tuple[Decimal, Decimal]]:
        """Price and size that a taker of `side` meets, best first, slippage included.

        Without a depth there is one level of any size. With one, sizes vary level by level, but always alike for the
        same price, so that a book does not depend on who looks. A recorded quote has its own size at the best level; what
        is more is made one tick further, nothing where that side was empty.
        """
        rules, instrument = self.rules, self.instrument
        tick = instrument.tick_size
        if self.best is not None:
            yield from self._recorded(side, self.best)
            return
        start = self.ask if side == BUY else self.bid
        start = self.slipped(start, side)
        if rules.depth_usdt <= 0:
            yield start, _UNLIMITED
            return
        gap = max(int(start / _BPS / tick / 2), 1) * tick
        step = gap if side == BUY else -gap
        price = start
        for _ in range(MAX_LEVELS):
            if price < tick:
                return
            yield price, self.level_size(price)
            price += step

    def _recorded(self, side: str, best: Best) -> Iterator[tuple[Decimal, Decimal]]:
        found = best.ask if side == BUY else best.bid
        if found is None:
            return
        price, size = self.slipped(found[0], side), found[1]
        yield price, size
        tick = self.instrument.tick_size if side == BUY else -self.instrument.tick_size
        for number in range(1, MAX_LEVELS):
            further = price + number * tick
            if further <= 0:
                return
            yield further, self.level_size(further) if self.rules.depth_usdt > 0 else _UNLIMITED

    def slipped(self, price: Decimal, side: str) -> Decimal:
        """The price a taker of `side` gets: worse by the slippage, on a tick, rounded against the taker."""
        slip = self.rules.slippage_bps
        if not slip:
            return price
        tick = self.instrument.tick_size
        moved = price * (1 + slip / _BPS) if side == BUY else price * (1 - slip / _BPS)
        rounding = ROUND_CEILING if side == BUY else ROUND_FLOOR
        return max((moved / tick).to_integral_value(rounding=rounding) * tick, tick)

    def level_size(self, price: Decimal) -> Decimal:
        """What rests at a price: `depth_usdt` worth, times 0.5 to 1.5 by a hash of the price."""
        ticks = int(price / self.instrument.tick_size)
        spread = (ticks * 2654435761 >> 7) % 1000
        value = self.rules.depth_usdt * (500 + spread) / 1000
        step = self.instrument.qty_step
        return max((value / price / step).to_integral_value(rounding=ROUND_FLOOR) * step, step)

    def set_last(self, price: Decimal) -> None:
        """The newest price; the mark follows it unless it was put elsewhere."""
        if price > self.last:
            self.tick_direction = "PlusTick"
        elif price < self.last:
            self.tick_direction = "MinusTick"
        elif self.tick_direction == "PlusTick":
            self.tick_direction = "ZeroPlusTick"
        elif self.tick_direction == "MinusTick":
            self.tick_direction = "ZeroMinusTick"
        self.last = price
        if self.mark_follows:
            self.mark = price
