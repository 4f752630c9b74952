"""An execution: a fill, funding, a liquidation or a settlement."""

from decimal import Decimal

from msgspec import Struct

#: A split or reverse split of a stock perpetual: size and average price change together, at no price and for no money.
CORPORATE_ACTION = "CorporateAction"
#: Types that settle a session's profit or a contract. Rows of them may come without a side.
SETTLEMENTS = frozenset({"SessionSettlePnL", "Settle", "Delivery"})
#: Execution types that change a position; Funding and the like do not.
SIZE_CHANGING = frozenset(
    {
        "Trade",
        "BustTrade",
        "AdlTrade",
        "Delivery",
        "Settle",
        "BlockTrade",
        "MovePosition",
        "FutureSpread",
        CORPORATE_ACTION,
    }
)


class Execution(Struct, frozen=True, gc=False):
    """One execution. `fee` is the amount paid (negative: received); None marks a value the row did not carry.

    `exec_pnl` is on the stream only; `extra_fees` is the list of tax items as JSON text, "" when empty.
    """

    category: str
    symbol: str
    order_id: str
    order_link_id: str
    side: str
    exec_id: str
    exec_type: str
    price: Decimal
    qty: Decimal
    value: Decimal
    fee: Decimal
    fee_currency: str
    fee_rate: Decimal | None
    extra_fees: str
    is_maker: bool
    closed_size: Decimal | None
    exec_pnl: Decimal | None
    order_price: Decimal | None
    order_qty: Decimal | None
    leaves_qty: Decimal | None
    create_type: str
    order_type: str
    stop_order_type: str
    mark_price: Decimal | None
    exec_time_ms: int
    seq: int | None

    @property
    def changes_size(self) -> bool:
        """True when it is a fill in the narrow sense: one that changes the position."""
        return self.exec_type in SIZE_CHANGING
