"""A position, as Bybit reports it."""

from decimal import Decimal

from msgspec import Struct

from alpha.model.leg import leg_of_index, slot_of
from alpha.model.side import SELL


class Position(Struct, frozen=True, gc=False):
    """One position: a symbol's in one-way mode (index 0), one leg of it in hedge mode (1 long, 2 short).

    `side` is "" and `size` zero when flat; unset levels are None.
    """

    category: str
    symbol: str
    position_idx: int
    side: str
    size: Decimal
    entry_price: Decimal
    value: Decimal
    leverage: Decimal | None
    mark_price: Decimal | None
    liq_price: Decimal | None
    break_even_price: Decimal | None
    take_profit: Decimal | None
    stop_loss: Decimal | None
    trailing_stop: Decimal | None
    tpsl_mode: str
    unrealised_pnl: Decimal
    cur_realised_pnl: Decimal
    cum_realised_pnl: Decimal
    initial_margin: Decimal | None
    maintenance_margin: Decimal | None
    status: str
    adl_rank: int
    is_reduce_only: bool
    open_ms: int | None
    created_ms: int | None
    updated_ms: int | None
    seq: int
    #: Contracts in USDC: the price of the last session's settlement, from which unrealised P&L counts.
    session_price: Decimal | None = None

    @property
    def is_flat(self) -> bool:
        """True when the position is flat."""
        return not self.size

    @property
    def leg(self) -> str:
        """`both`, `long` or `short`."""
        return leg_of_index(self.position_idx)

    @property
    def slot(self) -> str:
        """The name of this position within its account: symbol, in hedge mode with the leg."""
        # asked for several times per frame
        return self.symbol if self.position_idx == 0 else slot_of(self.symbol, self.leg)

    @property
    def signed_size(self) -> Decimal:
        """The size, negative for a short."""
        return -self.size if self.side == SELL else self.size
