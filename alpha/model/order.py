"""An order, as Bybit reports it."""

from decimal import Decimal

from msgspec import Struct

from alpha.model.leg import leg_of_index

CLOSED_STATUSES = frozenset({"Rejected", "PartiallyFilledCanceled", "Filled", "Cancelled", "Deactivated"})


class Order(Struct, frozen=True, gc=False):
    """One order as of `updated_ms`. Unset levels are None."""

    category: str
    symbol: str
    order_id: str
    order_link_id: str
    parent_order_link_id: str
    side: str
    position_idx: int
    order_type: str
    status: str
    time_in_force: str
    price: Decimal | None
    qty: Decimal
    avg_price: Decimal | None
    leaves_qty: Decimal
    cum_exec_qty: Decimal
    cum_exec_value: Decimal
    cum_exec_fee: Decimal | None
    reduce_only: bool
    close_on_trigger: bool
    create_type: str
    cancel_type: str
    reject_reason: str
    stop_order_type: str
    trigger_price: Decimal | None
    trigger_direction: int
    trigger_by: str
    take_profit: Decimal | None
    stop_loss: Decimal | None
    tpsl_mode: str
    created_ms: int
    updated_ms: int

    @property
    def leg(self) -> str:
        """The leg it belongs to: `both`, `long` or `short`."""
        return leg_of_index(self.position_idx)

    @property
    def is_open(self) -> bool:
        """True while it can still be filled; an unknown status counts as open."""
        return self.status not in CLOSED_STATUSES
