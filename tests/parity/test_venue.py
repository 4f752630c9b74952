"""The back-test's exchange and the simulated one, move by move in one process: the same exits, prices and balances."""

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpha.bybit.decode import parse_instrument
from alpha.model.side import Direction
from alpha.strategy.positions import Protection
from backtester.venue import ClosedPosition, Costs, Venue
from exchange_simulator.engine import funding, orders, price_moves, stops
from exchange_simulator.engine.account import Account
from exchange_simulator.engine.model import ClosedPnl, Refused, Rules
from exchange_simulator.engine.orders import NewOrder
from exchange_simulator.engine.state import Engine
from exchange_simulator.market import catalogue
from exchange_simulator.rest.market import instrument_row

SYMBOLS = ("ETHUSDT", "DOGEUSDT")
START = {"ETHUSDT": Decimal("3400.00"), "DOGEUSDT": Decimal("0.30000")}
CASH = Decimal(10_000)


@dataclass
class Pair:
    """Both exchanges with the same account."""

    engine: Engine
    account: Account
    venue: Venue

    @classmethod
    def with_slippage(cls, bps: Decimal, leverage: Decimal) -> "Pair":
        made = {symbol: catalogue.instrument(symbol, price=START[symbol], launch_ms=1) for symbol in SYMBOLS}
        engine = Engine(made, Rules(slippage_bps=bps, default_leverage=leverage), seed=1)
        account = engine.open_account(1, CASH)
        known = {symbol: parse_instrument(instrument_row(one, 1)) for symbol, one in made.items()}
        pair = cls(engine, account, Venue(CASH, Costs(slippage_bps=bps), known, leverage))
        for symbol, price in START.items():
            price_moves.move(engine, symbol, price)
            pair.venue.last[symbol] = float(price)
        return pair

    def open(self, symbol: str, direction: Direction, size: Decimal, levels: Protection) -> bool:
        """A market order with its levels on both; False when both refuse it for want of margin."""
        if not self.venue.affords(symbol, direction, size):
            with pytest.raises(Refused) as refused:
                orders.create(self.engine, self.account, NewOrder(symbol, direction.value, "Market", size))
            assert refused.value.code == 110007
            return False
        held = self.venue.open(symbol, direction, size, 0)
        held.protect(levels, self.venue.price(symbol))
        orders.create(self.engine, self.account, NewOrder(symbol, direction.value, "Market", size))
        position = self.account.position(symbol)
        stops.set_full(self.engine, self.account, position, "StopLoss", levels.stop_loss, "")
        if levels.take_profit is not None:
            stops.set_full(self.engine, self.account, position, "TakeProfit", levels.take_profit, "")
        if levels.trailing_distance is not None:
            stops.set_trailing(self.engine, self.account, position, levels.trailing_distance, levels.active_price)
        price_moves.run_due(self.engine)
        self.engine.drain()
        return True

    def move(self, symbol: str, price: Decimal, *, jump: bool) -> None:
        """The same move on both, then the same comparison."""
        gone: list[ClosedPosition] = []
        if symbol in self.venue.holdings:
            step = self.venue.jump if jump else self.venue.run
            gone = step(symbol, float(price), 0)
        self.venue.last[symbol] = float(price)
        price_moves.move(self.engine, symbol, price, jump=jump)
        self.compare(gone)

    def fund(self, symbol: str, rate: Decimal) -> None:
        """Funding on both."""
        gone = self.venue.fund(symbol, rate, 0) if symbol in self.venue.holdings else []
        funding.charge(self.engine, symbol, rate)
        self.compare(gone)

    def compare(self, gone: list[ClosedPosition]) -> None:
        """Same positions, same balance, same closing prices."""
        rows = [event for event in self.engine.drain() if isinstance(event, ClosedPnl)]
        assert {row.symbol: row.exit_value / row.closed_size for row in rows} == {
            departure.holding.symbol: departure.price for departure in gone
        }
        for row, departure in ((row, one) for row in rows for one in gone if row.symbol == one.holding.symbol):
            held = departure.holding
            net = (departure.price * held.size - held.entry_value) * held.sign - held.entry_fee - departure.fee
            assert row.pnl == net + held.funding
        assert {position.symbol for position in self.account.held()} == set(self.venue.holdings)
        assert self.account.wallet == self.venue.wallet


def levels_of(draw: np.random.Generator, symbol: str, direction: Direction) -> Protection:
    """Levels at random distances, on a tick; some positions trail, some have a target."""
    instrument = catalogue.instrument(symbol, price=START[symbol], launch_ms=1)
    tick, price, sign = instrument.tick_size, START[symbol], direction.sign

    def at(fraction: float) -> Decimal:
        return round(price * (1 + Decimal(str(round(fraction, 4))) * sign) / tick) * tick

    trails = draw.random() < 0.6
    return Protection(
        stop_loss=at(-draw.uniform(0.005, 0.3)),
        take_profit=at(draw.uniform(0.005, 0.1)) if draw.random() < 0.6 else None,
        trailing_distance=abs(at(draw.uniform(0.002, 0.02)) - price) + tick if trails else None,
        active_price=at(draw.uniform(0.001, 0.03)) if trails else None,
    )


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), bps=st.sampled_from(["0", "1.5", "20"]), leverage=st.sampled_from([1, 2, 10, 25])
)
def test_the_same_moves_give_the_same_exits_and_balances(seed: int, bps: str, leverage: int) -> None:
    draw = np.random.default_rng(seed)
    pair = Pair.with_slippage(Decimal(bps), Decimal(leverage))
    for symbol in SYMBOLS:
        direction = Direction.LONG if draw.random() < 0.5 else Direction.SHORT
        step = catalogue.instrument(symbol, price=START[symbol], launch_ms=1).qty_step
        value = CASH * Decimal(str(round(draw.uniform(0.1, 0.49) * leverage, 3)))
        value = min(value, Decimal(120_000))
        pair.open(symbol, direction, value / START[symbol] // step * step, levels_of(draw, symbol, direction))
    prices = dict(START)
    for number in range(30):
        for symbol in SYMBOLS:
            tick = catalogue.instrument(symbol, price=START[symbol], launch_ms=1).tick_size
            change = Decimal(str(round(draw.normal(0, 0.02), 5)))
            prices[symbol] = max(round(prices[symbol] * (1 + change) / tick) * tick, tick)
            pair.move(symbol, prices[symbol], jump=number % 4 == 0)
        if number % 8 == 0:
            for symbol in SYMBOLS:
                pair.fund(symbol, Decimal("0.0003"))
