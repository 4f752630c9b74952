"""A position, as Bybit reports it."""

from decimal import Decimal

from msgspec import Struct

from alpha.model.side import SELL


class Position(Struct, frozen=True, gc=False):
    """One position (one-way mode: index 0). `side` is "" and `size` zero when flat; unset levels are None."""

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

    @property
    def is_flat(self) -> bool:
        """True when the position is flat."""
        return not self.size

    @property
    def signed_size(self) -> Decimal:
        """The size, negative for a short."""
        return -self.size if self.side == SELL else self.size
