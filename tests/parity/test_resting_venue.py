"""Resting orders in the back-test's exchange and in the simulated one, move by move: the same fills and balances."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from alpha.bybit.decode import parse_instrument
from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.positions import Protection
from alpha.strategy.resting import RestingOrder, Role
from backtester.resting import Ended, RestingFill, RestingVenue
from backtester.venue import Costs
from exchange_simulator.engine import amend, orders, price_moves, stops
from exchange_simulator.engine.account import Account
from exchange_simulator.engine.model import Execution, Refused, Rules
from exchange_simulator.engine.orders import NewOrder
from exchange_simulator.engine.state import Engine
from exchange_simulator.market import catalogue
from exchange_simulator.rest.market import instrument_row

SYMBOL = "ETHUSDT"
START = Decimal("3400.00")
CASH = Decimal(10_000)


@dataclass
class Pair:
    """Both exchanges with the same account."""

    engine: Engine
    account: Account
    venue: RestingVenue
    known: dict[str, RestingOrder] = field(default_factory=dict)
    number: int = 0
    kinds: set[str] = field(default_factory=set)
    told: int = 0
    venue_type: ClassVar[type[RestingVenue]] = RestingVenue

    @classmethod
    def begin(cls, bps: Decimal, leverage: Decimal) -> "Pair":
        made = {SYMBOL: catalogue.instrument(SYMBOL, price=START, launch_ms=1)}
        engine = Engine(made, Rules(slippage_bps=bps, default_leverage=leverage, through_ticks=1), seed=1)
        account = engine.open_account(1, CASH)
        known = {SYMBOL: parse_instrument(instrument_row(made[SYMBOL], 1))}
        pair = cls(engine, account, cls.venue_type(CASH, Costs(slippage_bps=bps), known, leverage).begin())
        price_moves.move(engine, SYMBOL, START)
        pair.venue.last[SYMBOL] = float(START)
        engine.drain()
        return pair

    @property
    def tick(self) -> Decimal:
        return self.engine.instruments[SYMBOL].tick_size

    @property
    def last(self) -> Decimal:
        return self.engine.books[SYMBOL].last

    def at(self, fraction: float) -> Decimal:
        """The last price moved by a fraction, on a tick."""
        return round(self.last * (1 + Decimal(str(round(fraction, 5)))) / self.tick) * self.tick

    def order(self, role: Role, direction: Direction, price: Decimal, qty: Decimal, **more: object) -> RestingOrder:
        self.number += 1
        made = RestingOrder(
            ref=f"r{self.number}",
            role=role,
            symbol=SYMBOL,
            direction=direction,
            price=price,
            qty=qty,
            bar_ms=0,
            close_ms=0,
            intent="",
            reason=Reason.ENTRY if role is Role.ENTRY else Reason.TAKE_PROFIT,
        )
        for name, value in more.items():
            setattr(made, name, value)
        self.known[made.ref] = made
        return made

    def place(self, order: RestingOrder) -> None:
        """The same request to both."""
        new = NewOrder(
            SYMBOL,
            order.side,
            "Market" if order.trigger else "Limit",
            order.qty,
            price=None if order.trigger else order.price,
            time_in_force="PostOnly" if order.post_only else "GTC",
            link_id=order.ref,
            reduce_only=order.role is Role.TARGET,
            trigger_price=order.price if order.trigger else None,
            trigger_direction=(1 if order.rising else 2) if order.trigger else 0,
            stop_loss=order.stop_loss,
        )
        try:
            orders.create(self.engine, self.account, new)
        except Refused as fault:
            if fault.code not in (110007, 110017, 110092, 110093):
                raise
        self.venue.place(order, 0)
        self.compare()

    def market(self, direction: Direction, qty: Decimal, stop: Decimal) -> None:
        """A market entry, with its levels."""
        if not self.venue.affords(SYMBOL, direction, qty):
            return
        orders.create(self.engine, self.account, NewOrder(SYMBOL, direction.value, "Market", qty, stop_loss=stop))
        if SYMBOL in self.venue.holdings:
            self.venue.add(SYMBOL, qty, stop, 0)
        else:
            held = self.venue.open(SYMBOL, direction, qty, 0)
            held.stop_serial, held.target_serial = self.venue.next_serial(), self.venue.next_serial()
            held.protect(Protection(stop), self.last)
        self.compare()

    def levels(self, levels: Protection) -> None:
        """Levels of the position on both."""
        position, held = self.account.position(SYMBOL), self.venue.holdings[SYMBOL]
        if levels.trailing_distance is not None:
            stops.set_trailing(self.engine, self.account, position, levels.trailing_distance, levels.active_price)
        if levels.take_profit is not None:
            stops.set_full(self.engine, self.account, position, "TakeProfit", levels.take_profit, "")
            if held.target is None:
                held.target_serial = self.venue.next_serial()
        stops.set_full(self.engine, self.account, position, "StopLoss", levels.stop_loss, "")
        price_moves.run_due(self.engine)
        held.set_levels(levels, self.last)
        self.compare()

    def part(self, qty: Decimal) -> None:
        held = self.venue.holdings[SYMBOL]
        side = held.direction.closing_side
        orders.create(self.engine, self.account, NewOrder(SYMBOL, side, "Market", qty, reduce_only=True))
        self.venue.part(SYMBOL, qty, 0)
        self.compare()

    def cancel(self, order: RestingOrder) -> None:
        there = orders.find(self.account, SYMBOL, "", order.ref)
        if there is not None:
            orders.cancel(self.engine, self.account, there)
        self.venue.cancel(order)
        self.compare()

    def amend(self, order: RestingOrder, price: Decimal, qty: Decimal) -> None:
        there = orders.find(self.account, SYMBOL, "", order.ref)
        order.price, order.qty = price, qty
        if there is not None and (price, qty) != (there.price, there.qty):
            change = amend.Amendment(
                qty=None if qty == there.qty else qty, price=None if price == there.price else price
            )
            amend.amend(self.engine, self.account, there, change)
        self.venue.amend(order, 0)
        self.compare()

    def move(self, price: Decimal, *, jump: bool) -> None:
        """The same move on both."""
        if SYMBOL in self.venue.waiting:
            self.venue.walk(SYMBOL, float(price), 0, jump=jump)
        elif SYMBOL in self.venue.holdings:
            (self.venue.jump if jump else self.venue.run)(SYMBOL, float(price), 0)
        self.venue.last[SYMBOL] = float(price)
        price_moves.move(self.engine, SYMBOL, price, jump=jump)
        self.compare()

    def compare(self) -> None:
        """Same executions, same balance, same position, same orders."""
        rows = [event for event in self.engine.drain() if isinstance(event, Execution)]
        theirs = [(row.side, row.qty, row.price, row.fee) for row in rows]
        ours = [(fill.side, fill.qty, fill.price, fill.fee) for fill in self.venue.fills[self.told :]]
        assert ours == theirs
        self.told = len(self.venue.fills)
        self.kinds |= {row.stop_order_type or ("maker" if row.is_maker else "taker") for row in rows}
        assert self.account.wallet == self.venue.wallet
        held = self.venue.holdings.get(SYMBOL)
        size = Decimal(0) if held is None else held.size * held.sign
        assert self.account.size(SYMBOL) == size
        waiting = {one.order.ref: (one.leaves, one.price) for one in self.venue.waiting.get(SYMBOL, [])}
        open_orders = {
            order.link_id: (order.leaves, order.trigger_price if order.waiting else order.price)
            for order in self.account.symbol_orders(SYMBOL)
            if order.link_id and order.open
        }
        assert waiting == open_orders
        for event in self.venue.events:
            if isinstance(event, RestingFill):
                event.order.filled += event.qty
                self.kinds.add(event.order.role.value)
            if isinstance(event, Ended):
                self.kinds.add(event.why)
        self.venue.events.clear()


def drive(seed: int, bps: str, leverage: int, size: float, kind: type[Pair] = Pair) -> set[str]:
    """Random requests and moves; returns the kinds of things that happened."""
    draw = np.random.default_rng(seed)
    pair = kind.begin(Decimal(bps), Decimal(leverage))
    step = pair.engine.instruments[SYMBOL].qty_step

    def qty() -> Decimal:
        value = CASH * Decimal(str(round(draw.uniform(0.05, size) * leverage, 3)))
        return min(value, Decimal(90_000)) / START // step * step

    def away(direction: Direction, price: Decimal) -> Decimal:
        fraction = Decimal(str(round(draw.uniform(0.003, 0.03), 4))) * direction.sign
        return round(price * (1 - fraction) / pair.tick) * pair.tick

    for _ in range(60):
        held = pair.venue.holdings.get(SYMBOL)
        waiting = pair.venue.waiting.get(SYMBOL, [])
        direction = Direction.LONG if draw.random() < 0.5 else Direction.SHORT
        if held is not None:
            direction = held.direction
        elif waiting:
            direction = waiting[0].order.direction
        what = draw.random()
        if what < 0.2:
            price = pair.at(-direction.sign * draw.choice([0.0, 0.001, 0.004, 0.01]))
            stop = away(direction, price)
            pair.place(
                pair.order(Role.ENTRY, direction, price, qty(), post_only=bool(draw.random() < 0.7), stop_loss=stop)
            )
        elif what < 0.3:
            price = pair.at(draw.choice([-0.005, -0.002, 0.002, 0.005]))
            if price != pair.last:
                rising = price > pair.last
                more = {"trigger": True, "rising": rising, "stop_loss": away(direction, price)}
                pair.place(pair.order(Role.ENTRY, direction, price, qty(), **more))
        elif what < 0.36:
            pair.market(direction, qty(), away(direction, pair.last))
        elif held is not None and what < 0.55:
            price = pair.at(direction.sign * draw.choice([-0.001, 0.0, 0.002, 0.006]))
            part = max(held.size * Decimal(str(round(draw.uniform(0.1, 0.9), 2))) // step * step, step)
            pair.place(pair.order(Role.TARGET, direction, price, part, post_only=bool(draw.random() < 0.3)))
        elif held is not None and what < 0.65:
            trails = draw.random() < 0.5
            pair.levels(
                Protection(
                    stop_loss=away(direction, pair.last),
                    take_profit=pair.at(direction.sign * draw.uniform(0.002, 0.02)) if draw.random() < 0.5 else None,
                    trailing_distance=abs(pair.at(draw.uniform(0.002, 0.01)) - pair.last) + pair.tick
                    if trails
                    else None,
                    active_price=pair.at(direction.sign * draw.uniform(0.001, 0.01)) if trails else None,
                )
            )
        elif held is not None and what < 0.7 and held.size > step:
            pair.part(max(held.size / 3 // step * step, step))
        elif waiting and what < 0.8:
            order = waiting[int(draw.integers(len(waiting)))].order
            if draw.random() < 0.5 or order.role is Role.ENTRY:
                pair.cancel(order)
            else:
                there = next(one for one in waiting if one.order is order)
                price = pair.at(direction.sign * draw.uniform(-0.001, 0.006))
                pair.amend(order, price, order.filled + max(there.leaves / 2 // step * step, step))
        for _ in range(2):
            pair.move(pair.at(draw.normal(0, 0.004)), jump=bool(draw.random() < 0.3))
    return pair.kinds


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    bps=st.sampled_from(["0", "1.5"]),
    leverage=st.sampled_from([1, 3, 10, 25]),
    size=st.sampled_from([0.1, 0.6]),
)
def test_the_same_requests_and_moves_give_the_same_fills_and_balances(
    seed: int, bps: str, leverage: int, size: float
) -> None:
    drive(seed, bps, leverage, size)


def test_the_random_requests_bring_every_kind_of_end() -> None:
    seen: set[str] = set()
    for seed in range(60):
        seen |= drive(seed, "0", 10, 0.6)
    assert seen >= {
        "maker",
        "taker",
        "entry",
        "target",
        "StopLoss",
        "TakeProfit",
        "TrailingStop",
        "not enough margin",
        "a post-only order would have taken",
        "the position is closed",
    }
