"""Places an order exactly once, whatever happens to the answer.

send -> receipt                                     placed
send -> lost or ambiguous -> look up by orderLinkId found: placed; not found: send the same id again
send again -> duplicate id (110072)                 the first send arrived: look it up
send again -> refused, or the exchange is busy      the first send may have arrived meanwhile: look it up once more
send again -> the lease has expired meanwhile       the same; not found means unknown until the first send expires
"""

from alpha.bybit.client import Gateway
from alpha.bybit.errors import DuplicateOrder, WriteUnknown
from alpha.bybit.orders import OrderRequest, Placement
from alpha.bybit.rate_limiter import Priority
from alpha.clock import SYSTEM_CLOCK, Clock
from alpha.errors import AlphaError
from alpha.lease import LeaseLost, LeaseNotHeld
from alpha.model.order import Order

#: Pauses before each look-up, in seconds: an order may be accepted a moment before it can be read.
LOOKUP_PAUSES_S = (0.1, 0.4, 1.0)
SENDS = 3


async def place_order_once(
    gateway: Gateway,
    order: OrderRequest,
    *,
    clock: Clock = SYSTEM_CLOCK,
    sends: int = SENDS,
) -> Placement:
    """Send `order` until the exchange is known to have accepted or refused it.

    The same `order_link_id` is used throughout, so that the exchange itself refuses a duplicate. Raises the errors of
    `Gateway.create_order`; WriteUnknown only when neither sending nor looking up gave an answer: the order may
    exist, and the caller must look up its id before deciding anything.
    """
    for send in range(1, sends + 1):
        try:
            placed = await gateway.create_order(order)
        except DuplicateOrder:
            found = await _look_up(gateway, order, clock)
            if found is None:
                raise WriteUnknown(
                    f"{order.symbol}: Bybit says that {order.order_link_id} exists, but does not show it yet. "
                    "Look it up again before anything else is sent."
                ) from None
            return Placement(order_id=found.order_id, order_link_id=order.order_link_id, sends=send, order=found)
        except WriteUnknown:
            found = await _look_up(gateway, order, clock)
            if found is not None:
                return Placement(order_id=found.order_id, order_link_id=order.order_link_id, sends=send, order=found)
        except LeaseLost:
            raise
        except AlphaError as fault:
            if send == 1:
                raise
            found = await _look_up(gateway, order, clock)
            if found is None and isinstance(fault, LeaseNotHeld):
                raise WriteUnknown(
                    f"{order.symbol}: the answer to {order.order_link_id} was lost, and it may not be sent again: {fault}"
                ) from fault
            if found is None:
                raise
            return Placement(order_id=found.order_id, order_link_id=order.order_link_id, sends=send, order=found)
        else:
            return Placement(order_id=placed.order_id, order_link_id=order.order_link_id, sends=send)
    raise WriteUnknown(
        f"{order.symbol}: {order.order_link_id} was sent {sends} times without an answer and cannot be found. "
        "Look it up again before anything else is sent."
    )


async def _look_up(gateway: Gateway, order: OrderRequest, clock: Clock) -> Order | None:
    """The order by its id; None only when the exchange answered every time that it does not know it."""
    unread: AlphaError | None = None
    for pause_s in LOOKUP_PAUSES_S:
        await clock.sleep(pause_s)
        try:
            found = await gateway.order_by_link_id(
                order.symbol, order.order_link_id, rank=Priority.EXIT if order.reduce_only else Priority.ENTRY
            )
        except AlphaError as fault:
            unread = fault
            continue
        if found is not None:
            return found
        unread = None
    if unread is not None:
        raise WriteUnknown(
            f"{order.symbol}: the answer to {order.order_link_id} was lost, and it cannot be looked up: {unread}"
        ) from unread
    return None
