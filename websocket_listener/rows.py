"""From rows of the exchange to rows of `trading.fills` and `trading.orders`. Pure."""

import json
from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from alpha.errors import Rejected
from alpha.model.account import Account
from alpha.model.execution import SETTLEMENTS, Execution
from alpha.model.fill_reason import reason_of_fill
from alpha.model.leg import BOTH
from alpha.model.order import Order
from alpha.model.reason import Reason
from alpha.model.timestamp import at
from alpha.postgres.fills import Fill

#: Price times quantity may differ from the value that Bybit states by rounding, never by more than this share.
_VALUE_TOLERANCE = Decimal("0.01")
#: What a bigint holds.
_MOST_SEQ = (1 << 63) - 1


class OrderRow(Struct, frozen=True, gc=False):
    """One state of one order, as a row of `trading.orders`."""

    account_id: int
    order_id: str
    bot_id: str
    category: str
    symbol: str
    order_link_id: str | None
    parent_order_link_id: str | None
    side: str
    order_type: str
    status: str
    reason: str
    price: Decimal | None
    qty: Decimal
    leaves_qty: Decimal | None
    cum_exec_qty: Decimal
    cum_exec_value: Decimal | None
    avg_price: Decimal | None
    trigger_price: Decimal | None
    stop_loss: Decimal | None
    take_profit: Decimal | None
    stop_order_type: str | None
    create_type: str | None
    cancel_type: str | None
    reject_reason: str | None
    tpsl_mode: str | None
    time_in_force: str | None
    reduce_only: bool
    close_on_trigger: bool
    created_at: datetime
    updated_at: datetime
    received_at: datetime
    leg: str = "both"


def check_execution(execution: Execution) -> None:
    """Raise Rejected for an execution that cannot be true: negative quantity, a value that is not price x quantity,
    no side, a sequence number that can be none, a trade without an order. Such a row is damaged on its way; the exchange's list has the
    true one."""
    if not execution.order_id and execution.exec_type == "Trade":
        raise Rejected(f"The execution {execution.exec_id} has no orderId.")
    if execution.side not in {"Buy", "Sell"} and not (execution.side == "" and execution.exec_type in SETTLEMENTS):
        raise Rejected(f"The execution {execution.exec_id} has the side {execution.side!r}.")
    if execution.seq is not None and not 0 <= execution.seq <= _MOST_SEQ:
        raise Rejected(f"The execution {execution.exec_id} has the seq {execution.seq}.")
    if execution.qty < 0 or execution.price < 0:
        raise Rejected(f"The execution {execution.exec_id} has the quantity {execution.qty} at {execution.price}.")
    if execution.category == "linear" and execution.exec_type == "Trade":
        product = execution.price * execution.qty
        if abs(product - execution.value) > _VALUE_TOLERANCE * max(product, execution.value) or product == 0:
            raise Rejected(
                f"The execution {execution.exec_id} states the value {execution.value} for {execution.qty} "
                f"at {execution.price}."
            )


def reason_of_execution(execution: Execution, stop_meaning: Reason | None) -> Reason:
    """Why it happened. `stop_meaning` is what the strategy last said its stop of this symbol means, if it said so."""
    return reason_of_fill(
        execution.exec_type, execution.create_type, execution.stop_order_type, execution.order_link_id, stop_meaning
    )


def reason_of_order(order: Order, stop_meaning: Reason | None) -> Reason:
    """Why it was sent, as `reason_of_execution`."""
    return reason_of_fill("", order.create_type, order.stop_order_type, order.order_link_id, stop_meaning)


def fill_of(execution: Execution, account: Account, reason: Reason, received_at: datetime, leg: str = BOTH) -> Fill:
    """The row of `trading.fills` for one execution."""
    return Fill(
        account_id=account.id,
        bot_id=account.bot_id,
        category=execution.category,
        symbol=execution.symbol,
        exec_id=execution.exec_id,
        order_id=execution.order_id,
        order_link_id=execution.order_link_id or None,
        side=execution.side,
        exec_type=execution.exec_type,
        reason=reason,
        price=execution.price,
        qty=execution.qty,
        value=execution.value,
        fee=execution.fee,
        fee_currency=execution.fee_currency or None,
        closed_size=execution.closed_size,
        exec_pnl=execution.exec_pnl,
        extra_fees=_json(execution.extra_fees),
        is_maker=execution.is_maker,
        seq=-1 if execution.seq is None else execution.seq,
        exec_time=at(execution.exec_time_ms),
        received_at=received_at,
        leg=leg,
    )


def _json(extra_fees: str) -> str | None:
    """The tax items as JSON; a text that is none is kept as a JSON text."""
    if not extra_fees:
        return None
    return extra_fees if extra_fees[0] in "[{" else json.dumps(extra_fees)


def order_row(order: Order, account: Account, reason: Reason, received_at: datetime) -> OrderRow:
    """The row of `trading.orders` for one state of an order."""
    return OrderRow(
        account_id=account.id,
        order_id=order.order_id,
        bot_id=account.bot_id,
        category=order.category,
        symbol=order.symbol,
        order_link_id=order.order_link_id or None,
        parent_order_link_id=order.parent_order_link_id or None,
        side=order.side,
        order_type=order.order_type,
        status=order.status,
        reason=reason,
        price=order.price,
        qty=order.qty,
        leaves_qty=order.leaves_qty,
        cum_exec_qty=order.cum_exec_qty,
        cum_exec_value=order.cum_exec_value,
        avg_price=order.avg_price,
        trigger_price=order.trigger_price,
        stop_loss=order.stop_loss,
        take_profit=order.take_profit,
        stop_order_type=order.stop_order_type or None,
        create_type=order.create_type or None,
        cancel_type=order.cancel_type or None,
        reject_reason=order.reject_reason or None,
        tpsl_mode=order.tpsl_mode or None,
        time_in_force=order.time_in_force or None,
        reduce_only=order.reduce_only,
        close_on_trigger=order.close_on_trigger,
        created_at=at(order.created_ms),
        updated_at=at(order.updated_ms),
        received_at=received_at,
        leg=order.leg,
    )
