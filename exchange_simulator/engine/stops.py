"""Stops that belong to a position: take profit, stop loss, trailing stop, whole or partial; and reduce-only orders.

They are orders created by the exchange that follow the position: resized with it, cancelled when it closes.
"""

from decimal import Decimal

from exchange_simulator.engine.account import Account
from exchange_simulator.engine.closing_order import closing_order
from exchange_simulator.engine.model import ZERO, Order, Position, Refused
from exchange_simulator.engine.state import Engine

FULL = ("TakeProfit", "StopLoss", "TrailingStop")
PARTIAL = ("PartialTakeProfit", "PartialStopLoss")
CREATE_TYPE = {
    "TakeProfit": "CreateByTakeProfit",
    "StopLoss": "CreateByStopLoss",
    "TrailingStop": "CreateByTrailingStop",
    "PartialTakeProfit": "CreateByPartialTakeProfit",
    "PartialStopLoss": "CreateByPartialStopLoss",
}
MAX_PARTIAL = 20


def fit_reduce_only(engine: Engine, account: Account, order: Order) -> None:
    """Shrinks a reduce-only order to the position size; cancels it when there is nothing to reduce."""
    if not order.reduce_only:
        return
    size = account.size(order.symbol, order.idx)
    held = abs(size) if size * order.sign < 0 else ZERO
    if not held:
        engine.end_order(account, order, "Cancelled", cancel_type="CancelByReduceOnly")
    elif order.leaves > held:
        order.qty -= order.leaves - held
        order.leaves = held


def after_change(engine: Engine, account: Account, order: Order, before: Decimal, opened: Decimal) -> None:
    """Adjusts stops and reduce-only orders after a fill of `order` changed the position."""
    symbol = order.symbol
    after = account.size(symbol, order.idx)
    ended = before != 0 and (after == 0 or (after > 0) != (before > 0))
    for other in account.symbol_orders(symbol):
        if other is order or not other.open or other.idx != order.idx:
            continue
        if other.stop_order_type in CREATE_TYPE and other.waiting:
            if ended:
                engine.end_order(account, other, "Deactivated", cancel_type="CancelByTpSlTsClear")
            elif (other.stop_order_type in FULL and other.leaves != abs(after)) or other.leaves > abs(after):
                _resize(engine, other, abs(after))
        elif other.reduce_only and not other.waiting and (after * other.sign >= 0 or other.leaves > abs(after)):
            leaves = other.leaves
            fit_reduce_only(engine, account, other)
            if other.open and other.leaves != leaves:
                other.updated_ms = engine.now_ms
                engine.tell_order(other)
    if opened and after:
        attach(engine, account, order, opened)


def _resize(engine: Engine, order: Order, qty: Decimal) -> None:
    order.qty = order.leaves = qty
    order.updated_ms = engine.now_ms
    engine.tell_order(order)


def attach(engine: Engine, account: Account, order: Order, opened: Decimal) -> None:
    """Attaches the take profit and stop loss of an order that opened `opened` of the position."""
    if order.take_profit is None and order.stop_loss is None:
        return
    position = account.position(order.symbol, order.idx)
    if order.tpsl_mode == "Partial":
        partial_pair(engine, account, position, order, opened)
    else:
        if order.take_profit is not None:
            set_full(
                engine, account, position, "TakeProfit", order.take_profit, order.tp_trigger_by, parent=order.link_id
            )
        if order.stop_loss is not None:
            set_full(engine, account, position, "StopLoss", order.stop_loss, order.sl_trigger_by, parent=order.link_id)
    engine.tell_position(account, order.symbol)


def set_full(
    engine: Engine,
    account: Account,
    position: Position,
    kind: str,
    price: Decimal,
    trigger_by: str,
    parent: str = "",
) -> bool:
    """Sets, moves or (price 0) clears the position-wide stop of a kind. Returns True when anything changed."""
    existing = engine.stop_of(account, position, kind)
    if not price:
        if existing is None:
            return False
        engine.end_order(account, existing, "Deactivated", cancel_type="CancelByUser")
        return True
    book = engine.books[position.symbol]
    trigger_by = trigger_by or "LastPrice"
    if existing is not None:
        if existing.trigger_price == price and existing.trigger_by == trigger_by:
            return False
        book.forget(existing)
        existing.trigger_price = price
        existing.trigger_by = trigger_by
        existing.qty = existing.leaves = abs(position.size)
        existing.updated_ms = engine.now_ms
        arm(engine, existing)
        return True
    order = _stop(engine, account, position, kind, abs(position.size), parent)
    order.tpsl_mode = "Full"
    order.trigger_price = price
    order.trigger_by = trigger_by
    order.trigger_direction = 1 if (kind == "TakeProfit") == (position.size > 0) else 2
    account.add(order)
    arm(engine, order)
    return True


def set_trailing(
    engine: Engine, account: Account, position: Position, distance: Decimal, active_price: Decimal | None
) -> bool:
    """Sets, changes or (distance 0) clears the position's trailing stop. Returns True when anything changed."""
    existing = engine.stop_of(account, position, "TrailingStop")
    if not distance:
        if existing is None:
            return False
        engine.end_order(account, existing, "Deactivated", cancel_type="CancelByUser")
        return True
    if existing is not None and existing.trail_distance == distance and existing.trigger_price == active_price:
        return False
    book = engine.books[position.symbol]
    if existing is None:
        existing = _stop(engine, account, position, "TrailingStop", abs(position.size), "")
        existing.tpsl_mode = "Full"
        existing.trigger_by = "LastPrice"
        account.add(existing)
    existing.trail_distance = distance
    existing.trigger_price = active_price
    existing.trigger_direction = 1 if position.size > 0 else 2
    passed = active_price is None or (book.last - active_price) * position.sign >= 0
    existing.trail_extreme = book.last if passed else None
    existing.updated_ms = engine.now_ms
    arm(engine, existing)
    return True


def partial_pair(engine: Engine, account: Account, position: Position, source: Order, qty: Decimal) -> None:
    """Adds a partial take profit and/or stop loss of `qty`; triggering one cancels the other."""
    orders = account.symbol_orders(position.symbol)
    waiting = sum(1 for other in orders if other.stop_order_type in PARTIAL and other.idx == position.idx)
    wanted = (source.take_profit is not None) + (source.stop_loss is not None)
    if waiting + wanted > MAX_PARTIAL * 2:
        raise Refused(110061, "The number of TP/SL orders exceeds the limit")
    made: list[Order] = []
    for kind, price, trigger_by, order_type, limit in (
        (
            "PartialTakeProfit",
            source.take_profit,
            source.tp_trigger_by,
            source.tp_order_type,
            source.tp_limit_price,
        ),
        ("PartialStopLoss", source.stop_loss, source.sl_trigger_by, source.sl_order_type, source.sl_limit_price),
    ):
        if price is None:
            continue
        order = _stop(engine, account, position, kind, qty, source.link_id)
        order.tpsl_mode = "Partial"
        order.trigger_price = price
        order.trigger_by = trigger_by or "LastPrice"
        order.trigger_direction = 1 if (kind == "PartialTakeProfit") == (position.size > 0) else 2
        order.order_type = order_type or "Market"
        if order.order_type == "Limit":
            order.price = limit if limit is not None else price
            order.time_in_force = "GTC"
        made.append(order)
    if len(made) == 2:
        made[0].partner_id, made[1].partner_id = made[1].order_id, made[0].order_id
    for order in made:
        account.add(order)
    for order in made:
        if order.open:
            arm(engine, order)


def _stop(engine: Engine, account: Account, position: Position, kind: str, qty: Decimal, parent: str) -> Order:
    return closing_order(
        *(engine, account, position, qty),
        price=ZERO,
        time_in_force="IOC",
        status="Untriggered",
        create_type=CREATE_TYPE[kind],
        stop_order_type=kind,
        close_on_trigger=True,
        parent_link_id=parent,
    )


def arm(engine: Engine, order: Order) -> None:
    """Arms a conditional order; one whose trigger price is already met is due at once."""
    book = engine.books[order.symbol]
    engine.tell_order(order)
    if order.trail_distance is None and order.trigger_price is not None:
        now = engine.price_by(order.symbol, order.trigger_by)
        met = now >= order.trigger_price if order.trigger_direction == 1 else now <= order.trigger_price
        if met:
            engine.due.append(order)
            return
    book.wait_trigger(order)
