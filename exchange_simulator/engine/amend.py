"""Amends an open order: price, quantity, trigger and attached stops."""

from dataclasses import dataclass
from decimal import Decimal

from exchange_simulator.engine import matching, price_moves, stops
from exchange_simulator.engine.account import Account
from exchange_simulator.engine.checks import check_levels, check_price, check_trigger
from exchange_simulator.engine.model import ZERO, Order, Refused
from exchange_simulator.engine.state import Engine


@dataclass(frozen=True, slots=True)
class Amendment:
    """A request of `order/amend`; None leaves a value unchanged, 0 removes a take profit or stop loss."""

    qty: Decimal | None = None
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    trigger_by: str = ""
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    tp_trigger_by: str = ""
    sl_trigger_by: str = ""
    tpsl_mode: str = ""
    tp_limit_price: Decimal | None = None
    sl_limit_price: Decimal | None = None


def amend(engine: Engine, account: Account, order: Order, change: Amendment) -> None:
    """Amends an open order; if its new price crosses the book, it trades at once."""
    instrument, book = engine.instruments[order.symbol], engine.books[order.symbol]
    if change.qty is not None:
        if order.stop_order_type in stops.FULL:
            raise Refused(110060, "Under full TP/SL mode, it is not allowed to modify the quantity of a TP/SL")
        if change.qty <= 0 or change.qty % instrument.qty_step or change.qty < instrument.min_order_qty:
            raise Refused(10001, "Qty invalid")
        if change.qty <= order.cum_qty:
            raise Refused(110064, "The order modified during the process of replacing: qty is not above the filled qty")
        if change.qty > instrument.max_order_qty:
            raise Refused(10001, "The number of contracts exceeds maximum limit allowed: too large")
    if change.price is not None:
        if order.order_type != "Limit":
            raise Refused(10001, "params error: a market order has no price to amend")
        check_price(instrument, book, order.side, change.price, order.waiting)
    if change.trigger_price is not None:
        if not order.waiting or order.trigger_price is None:
            raise Refused(10001, "params error: the order has no trigger price to amend")
        if change.trigger_price <= 0 or change.trigger_price % instrument.price_step:
            raise Refused(10001, "params error: TriggerPrice invalid")
        check_trigger(
            engine, order.symbol, change.trigger_price, order.trigger_direction, change.trigger_by or order.trigger_by
        )
    if order.cum_qty and (change.take_profit is not None or change.stop_loss is not None):
        raise Refused(110059, "Cannot modify the TP/SL of a partially filled open order")
    base = change.price or (order.price if order.order_type == "Limit" else order.trigger_price or book.last)
    check_levels(instrument, order.side, base, change.take_profit, change.stop_loss)
    if not _differs(order, change):
        raise Refused(10001, "The order remains unchanged as the parameters entered match the existing ones.")
    trial_qty = change.qty if change.qty is not None else order.qty
    trial_price = change.price if change.price is not None else order.price
    old_price, old_leaves = order.price, order.leaves
    with account.recounted(order):
        order.price, order.leaves = trial_price, trial_qty - order.cum_qty
        short = (
            not order.reduce_only
            and not order.waiting
            and order.leaves * order.price > old_leaves * old_price
            and price_moves.needed_margin(engine, account, order) > engine.available(account, order.coin)
        )
        if short:
            order.price, order.leaves = old_price, old_leaves
    if short:
        if change.qty is None:
            raise Refused(110052, "Your available balance is insufficient to set the price")
        raise Refused(110007, "ab not enough for new order")
    order.qty = trial_qty
    _amend_attached(order, change)
    order.updated_ms = engine.now_ms
    book.forget(order)
    if order.waiting:
        if change.trigger_price is not None:
            order.trigger_price = change.trigger_price
        order.trigger_by = change.trigger_by or order.trigger_by
        stops.arm(engine, order)
    elif change.price is not None:
        matching.fill_taker(engine, account, order)
    else:
        engine.tell_order(order)
        book.wait_limit(order)
    price_moves.run_due(engine)
    engine.tell_position(account, order.symbol)


def _differs(order: Order, change: Amendment) -> bool:
    pairs = (
        (change.qty, order.qty),
        (change.price, order.price),
        (change.trigger_price, order.trigger_price),
        (change.take_profit, order.take_profit or ZERO),
        (change.stop_loss, order.stop_loss or ZERO),
        (change.tp_limit_price, order.tp_limit_price),
        (change.sl_limit_price, order.sl_limit_price),
        (change.trigger_by or None, order.trigger_by),
        (change.tp_trigger_by or None, order.tp_trigger_by),
        (change.sl_trigger_by or None, order.sl_trigger_by),
    )
    return any(new is not None and new != old for new, old in pairs)


def _amend_attached(order: Order, change: Amendment) -> None:
    if change.take_profit is not None:
        order.take_profit = change.take_profit or None
        order.tp_trigger_by = (change.tp_trigger_by or order.tp_trigger_by or "LastPrice") if order.take_profit else ""
    if change.stop_loss is not None:
        order.stop_loss = change.stop_loss or None
        order.sl_trigger_by = (change.sl_trigger_by or order.sl_trigger_by or "LastPrice") if order.stop_loss else ""
    if order.take_profit or order.stop_loss:
        order.tpsl_mode = change.tpsl_mode or order.tpsl_mode or "Full"
    else:
        order.tpsl_mode = ""
    if change.tp_limit_price is not None:
        order.tp_limit_price = change.tp_limit_price
    if change.sl_limit_price is not None:
        order.sl_limit_price = change.sl_limit_price
