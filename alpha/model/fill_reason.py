"""Why a fill happened: what the exchange says, what the strategy said of its stop, what the order's id says."""

from alpha.model.order_link import parse_order_link_id
from alpha.model.reason import Reason, reason_of_exchange


def reason_of_fill(
    exec_type: str, create_type: str, stop_order_type: str, order_link_id: str, stop_meaning: Reason | None
) -> Reason:
    """The reason of an execution, or of an order (`exec_type` empty).

    `stop_meaning` is what the strategy last said its stop of this symbol means, if it said so. What neither the exchange
    created nor carries an id of ours was sent by hand.
    """
    exchange = reason_of_exchange(exec_type, create_type, stop_order_type)
    if exchange is Reason.STOP_LOSS and stop_meaning is not None:
        return stop_meaning
    if exchange is not None:
        return exchange
    link = parse_order_link_id(order_link_id) if order_link_id else None
    return link.reason if link is not None else Reason.MANUAL


def is_by_hand(exec_type: str, create_type: str, stop_order_type: str, order_link_id: str) -> bool:
    """True for what neither the exchange created nor carries an id of ours."""
    return (
        reason_of_exchange(exec_type, create_type, stop_order_type) is None
        and parse_order_link_id(order_link_id) is None
    )
