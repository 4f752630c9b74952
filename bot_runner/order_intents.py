"""Why an order is sent, as a row of `trading.order_intents`: written before the order leaves."""

from decimal import Decimal

import msgspec

from alpha.strategy.core import CloseOrder, EntryOrder
from alpha.strategy.resting import RestingOrder, Role


class OrderIntent(msgspec.Struct, frozen=True):
    """One row. Times are business time in UTC milliseconds, prices in USDT."""

    order_link_id: str
    symbol: str
    bar_ms: int
    intent: str
    kind: str
    side: str
    qty: Decimal
    price: Decimal | None
    tag: str
    reason: str
    why: str
    decision_price: Decimal | None
    decided_ms: int

    @classmethod
    def of_entry(cls, order: EntryOrder, link_id: str) -> "OrderIntent":
        """A market entry."""
        enter = order.enter
        return cls(
            link_id,
            enter.symbol,
            order.bar_ms,
            "enter",
            "market",
            enter.direction.value,
            order.qty,
            None,
            enter.tag,
            "entry",
            enter.why,
            order.price,
            order.close_ms,
        )

    @classmethod
    def of_resting(cls, order: RestingOrder, link_id: str) -> "OrderIntent":
        """A resting entry or a target."""
        return cls(
            link_id,
            order.symbol,
            order.bar_ms,
            "enter" if order.role is Role.ENTRY else "target",
            "trigger" if order.trigger else "limit",
            order.side,
            order.leaves,
            order.price,
            order.tag,
            order.reason.value,
            order.why,
            order.decided_price,
            order.close_ms,
        )

    @classmethod
    def of_close(cls, close: CloseOrder, link_id: str, bar_ms: int, decided_ms: int) -> "OrderIntent":
        """An exit at market, of the whole or of a part."""
        return cls(
            link_id,
            close.symbol,
            bar_ms,
            "part" if close.part else "exit",
            "market",
            close.direction.closing_side,
            close.size,
            None,
            close.tag,
            close.reason.value,
            close.why,
            close.price,
            decided_ms,
        )
