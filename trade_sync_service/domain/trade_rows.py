"""Rows of `trading.completed_trades`, made from Bybit's closed-P&L rows."""

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from alpha.bybit.models import ClosedPnl
from alpha.model.side import BUY, SELL


class TradeKey(NamedTuple):
    """The identity of a closed trade: one order can have several rows."""

    order_id: str
    updated_ms: int
    closed_size: Decimal
    exit_value: Decimal
    ordinal: int


class Trade(NamedTuple):
    """One closed trade as Bybit reports it. Fees are positive when paid, funding when received; in the settle coin."""

    key: TradeKey
    symbol: str
    side: str
    exec_type: str
    order_type: str
    order_price: Decimal
    qty: Decimal
    entry_value: Decimal
    entry_price: Decimal
    exit_price: Decimal
    fill_count: int
    leverage: Decimal | None
    gross: Decimal
    open_fee: Decimal
    close_fee: Decimal
    funding: Decimal
    closed_pnl: Decimal
    created_ms: int

    @property
    def direction(self) -> str:
        """The direction of the position: `side` is that of the closing order."""
        return "long" if self.side == SELL else "short"


class FeesMissing(ValueError):
    """Bybit's row has no fees, so its funding cannot be derived."""


def trades_of(rows: Iterable[ClosedPnl]) -> list[Trade]:
    """The trades of these rows; rows with equal keys get ordinals in a fixed order.

    gross = exit value - entry value for a long and the opposite for a short; funding = closedPnl - gross + both fees
    (measured on Bybit: `closedPnl` includes the funding of the holding period). Raises FeesMissing.
    """
    ordinals: Counter[tuple[object, ...]] = Counter()
    trades = []
    for row in sorted(rows, key=_order):
        same = (row.order_id, row.updated_ms, row.closed_size, row.exit_value)
        trades.append(_trade(row, ordinals[same]))
        ordinals[same] += 1
    return trades


def _trade(row: ClosedPnl, ordinal: int) -> Trade:
    if row.open_fee is None or row.close_fee is None:
        raise FeesMissing(f"The closed-P&L row of order {row.order_id} carries no fees.")
    difference = row.exit_value - row.entry_value
    # a settlement closes nothing and says no side: its P&L tells which side would have closed
    side = row.closing_side or (SELL if difference * row.closed_pnl >= 0 else BUY)
    gross = difference if side == SELL else -difference
    return Trade(
        key=TradeKey(row.order_id, row.updated_ms, row.closed_size, row.exit_value, ordinal),
        symbol=row.symbol,
        side=side,
        exec_type=row.exec_type,
        order_type=row.order_type,
        order_price=row.order_price,
        qty=row.qty,
        entry_value=row.entry_value,
        entry_price=row.entry_price,
        exit_price=row.exit_price,
        fill_count=row.fill_count,
        leverage=row.leverage,
        gross=gross,
        open_fee=row.open_fee,
        close_fee=row.close_fee,
        funding=row.closed_pnl - gross + row.open_fee + row.close_fee,
        closed_pnl=row.closed_pnl,
        created_ms=row.created_ms,
    )


def _order(row: ClosedPnl) -> tuple[object, ...]:
    return (
        row.order_id,
        row.updated_ms,
        row.closed_size,
        row.exit_value,
        row.entry_value,
        row.closed_pnl,
        row.created_ms,
    )
