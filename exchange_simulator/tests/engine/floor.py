"""Test harness: an engine over one or two symbols whose prices the test moves."""

from decimal import Decimal
from typing import Any

from exchange_simulator.engine import orders, price_moves
from exchange_simulator.engine.account import Account
from exchange_simulator.engine.model import BUY, Event, Execution, Order, PositionView, Rules
from exchange_simulator.engine.orders import NewOrder
from exchange_simulator.engine.state import Engine
from exchange_simulator.market import catalogue

BTC = "BTCUSDT"
ETH = "ETHUSDT"
PERP = "BTCPERP"
D = Decimal


class Floor:
    """An engine, its accounts and all events it has emitted so far."""

    def __init__(self, rules: Rules | None = None, price: str = "50000", deposit: str = "100000") -> None:
        instruments = {
            BTC: catalogue.instrument(BTC, price=D(50_000), launch_ms=0, tick=D("0.1")),
            ETH: catalogue.instrument(ETH, price=D(3_000), launch_ms=0, tick=D("0.01")),
            PERP: catalogue.instrument(PERP, price=D(50_000), launch_ms=0, tick=D("0.1")),
        }
        self.engine = Engine(instruments, rules or Rules(), seed=1)
        self.engine.now_ms = 1_700_000_000_000
        self.told: list[Event] = []
        price_moves.move(self.engine, BTC, D(price))
        price_moves.move(self.engine, ETH, D(3_000))
        price_moves.move(self.engine, PERP, D(50_000))
        self.account = self.open_account(1, deposit)

    def open_account(self, uid: int, deposit: str) -> Account:
        account = self.engine.open_account(uid, D(deposit))
        self.listen()
        return account

    def listen(self) -> list[Event]:
        """Collects the events since the last call."""
        events = self.engine.drain()
        self.told.extend(events)
        return events

    def move(self, price: str, symbol: str = BTC, jump: bool = False) -> list[Event]:
        """Moves a price and returns the resulting events."""
        self.engine.now_ms += 1_000
        price_moves.move(self.engine, symbol, D(price), jump=jump)
        return self.listen()

    def market(self, side: str, qty: str, account: Account | None = None, symbol: str = BTC, **more: Any) -> Order:
        return self.place(
            NewOrder(symbol=symbol, side=side, order_type="Market", qty=D(qty), **more),
            account,
        )

    def limit(
        self, side: str, qty: str, price: str, account: Account | None = None, symbol: str = BTC, **more: Any
    ) -> Order:
        return self.place(
            NewOrder(symbol=symbol, side=side, order_type="Limit", qty=D(qty), price=D(price), **more),
            account,
        )

    def place(self, new: NewOrder, account: Account | None = None) -> Order:
        self.engine.now_ms += 1
        order = orders.create(self.engine, account or self.account, new)
        self.listen()
        return order

    # --- collected events ------------------------------------------------------------------------------------------

    def executions(self, uid: int = 1, kind: str = "") -> list[Execution]:
        return [
            event
            for event in self.told
            if isinstance(event, Execution) and event.uid == uid and (not kind or event.exec_type == kind)
        ]

    def states(self, order: Order) -> list[str]:
        """The reported states of an order, in order."""
        return [e.status for e in self.told if isinstance(e, Order) and e.order_id == order.order_id]

    def last_position(self, symbol: str = BTC) -> PositionView:
        return [e for e in self.told if isinstance(e, PositionView) and e.position.symbol == symbol][-1]

    @property
    def size(self) -> Decimal:
        return self.account.size(BTC)

    def stops(self) -> dict[str, Order]:
        """Conditional orders of the account by kind."""
        return {order.stop_order_type: order for order in self.account.orders.values() if order.waiting}


def signed(executions: list[Execution]) -> Decimal:
    """The position that the executions add up to; funding rows do not count."""
    return sum((e.qty if e.side == BUY else -e.qty for e in executions if e.exec_type != "Funding"), D(0))
