"""Delivery of a contract: its orders are cancelled and its positions settled at the last price."""

from exchange_simulator.engine import matching
from exchange_simulator.engine.liquidation import system_order
from exchange_simulator.engine.state import Engine


def deliver(engine: Engine, symbol: str) -> None:
    """Settles a symbol now. Each position closes with an execution of type Delivery, without an order."""
    price = engine.books[symbol].last
    for account in engine.accounts.values():
        for order in account.symbol_orders(symbol):
            status = "Deactivated" if order.waiting else "Cancelled"
            engine.end_order(account, order, status, cancel_type="CancelBySettle")
        if not account.holds(symbol):
            continue
        for position in account.legs(symbol):
            if position.size:
                size = abs(position.size)
                order = system_order(engine, account, position, size, price, "CreateBySettle")
                matching.settle(engine, account, order, [(price, size)], is_maker=False, exec_type="Delivery")
