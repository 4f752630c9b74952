"""Closing orders that the exchange itself creates: stops, targets, liquidations, deliveries."""

from decimal import Decimal
from typing import Any

from exchange_simulator.engine.account import Account
from exchange_simulator.engine.model import BUY, SELL, Order, Position
from exchange_simulator.engine.state import Engine


def closing_order(engine: Engine, account: Account, position: Position, qty: Decimal, **fields: Any) -> Order:
    """A reduce-only market order on the other side of the position, with these fields. It is not on the account yet."""
    engine.serial += 1
    return Order(
        order_id=engine.ids.new(f"{account.uid}/order"),
        link_id="",
        uid=account.uid,
        symbol=position.symbol,
        side=SELL if position.size > 0 else BUY,
        order_type="Market",
        qty=qty,
        leaves=qty,
        created_ms=engine.now_ms,
        updated_ms=engine.now_ms,
        serial=engine.serial,
        reduce_only=True,
        last_price_on_created=engine.books[position.symbol].last,
        idx=position.idx,
        coin=engine.coin_of(position.symbol),
        **fields,
    )
