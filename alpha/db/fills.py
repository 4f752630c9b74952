"""The one way into `trading.fills`.

    result = await insert_fills(connection, rows)      # connection: alpha_listener, straight to PostgreSQL

One statement takes a whole batch. A fill that is already there is a duplicate: it fills what was null and changes
nothing else. The database brings round trips and roll-ups up to date in the same transaction.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from alpha.db.pool import Connection


class Fill(NamedTuple):
    """One execution, as a row of `trading.fills`. Amounts are Decimal, times aware UTC.

    What the REST rows lack is None until the stream tells: `exec_pnl`, at times `closed_size`, `fee_currency`.
    `extra_fees` is the JSON text of Bybit's list, None when it is empty.
    """

    account_id: int
    bot_id: str
    category: str
    symbol: str
    exec_id: str
    order_id: str
    order_link_id: str | None
    side: str
    exec_type: str
    reason: str
    price: Decimal
    qty: Decimal
    value: Decimal
    fee: Decimal
    fee_currency: str | None
    closed_size: Decimal | None
    exec_pnl: Decimal | None
    extra_fees: str | None
    is_maker: bool
    seq: int
    exec_time: datetime
    received_at: datetime

    @property
    def key(self) -> tuple[int, str, str, str]:
        """What makes an execution the same execution."""
        return self.account_id, self.category, self.symbol, self.exec_id


class InsertResult(NamedTuple):
    """How many rows of a batch were new, and how many were there before (or twice in the batch)."""

    inserted: int
    duplicates: int


#: Columns that a second sight of the same execution may fill when they are still null.
_LATER = ("order_link_id", "fee_currency", "closed_size", "exec_pnl", "extra_fees")

#: Rows go in by key order, so that two writers of the same fills wait for each other and never for ever.
INSERT_FILLS = """
WITH written AS (
    INSERT INTO trading.fills (
        account_id, bot_id, category, symbol, exec_id, order_id, order_link_id, side, exec_type, reason, price, qty, value,
        fee, fee_currency, closed_size, exec_pnl, extra_fees, is_maker, seq, exec_time, received_at
    )
    SELECT
        account_id, bot_id, category, symbol, exec_id, order_id, order_link_id, side, exec_type, reason, price, qty, value,
        fee, fee_currency, closed_size, exec_pnl, extra_fees::jsonb, is_maker, seq, exec_time, received_at
    FROM unnest(
        $1::int2[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
        $8::text[], $9::text[], $10::text[], $11::numeric[], $12::numeric[], $13::numeric[], $14::numeric[],
        $15::text[], $16::numeric[], $17::numeric[], $18::text[], $19::bool[], $20::int8[], $21::timestamptz[],
        $22::timestamptz[]
    ) AS row (
        account_id, bot_id, category, symbol, exec_id, order_id, order_link_id, side, exec_type, reason, price, qty, value,
        fee, fee_currency, closed_size, exec_pnl, extra_fees, is_maker, seq, exec_time, received_at
    )
    ORDER BY account_id, category, symbol, exec_time, seq, exec_id
    ON CONFLICT (account_id, category, symbol, exec_id) DO UPDATE SET
        order_link_id = coalesce(fills.order_link_id, excluded.order_link_id),
        fee_currency = coalesce(fills.fee_currency, excluded.fee_currency),
        closed_size = coalesce(fills.closed_size, excluded.closed_size),
        exec_pnl = coalesce(fills.exec_pnl, excluded.exec_pnl),
        extra_fees = coalesce(fills.extra_fees, excluded.extra_fees)
    WHERE (fills.order_link_id IS NULL AND excluded.order_link_id IS NOT NULL)
        OR (fills.fee_currency IS NULL AND excluded.fee_currency IS NOT NULL)
        OR (fills.closed_size IS NULL AND excluded.closed_size IS NOT NULL)
        OR (fills.exec_pnl IS NULL AND excluded.exec_pnl IS NOT NULL)
        OR (fills.extra_fees IS NULL AND excluded.extra_fees IS NOT NULL)
    RETURNING (xmax = 0) AS inserted
)
SELECT count(*) FILTER (WHERE inserted) FROM written
"""


async def insert_fills(connection: Connection, rows: Iterable[Fill]) -> InsertResult:
    """Store a batch of executions, each once, whatever was there before.

    Run it inside a transaction of your own to commit it with other rows, or alone: it is one statement.
    Raises asyncpg's errors; an integrity error means that a row cannot be stored (an unknown account, a side that is
    neither Buy nor Sell), and nothing of the batch was.
    """
    unique: dict[tuple[int, str, str, str], Fill] = {}
    count = 0
    for fill in rows:
        count += 1
        seen = unique.get(fill.key)
        unique[fill.key] = fill if seen is None else _merged(seen, fill)
    if not unique:
        return InsertResult(0, 0)
    inserted = await connection.fetchval(INSERT_FILLS, *map(list, zip(*unique.values(), strict=True)))
    return InsertResult(inserted, count - inserted)


async def settle_late_fills(connection: Connection) -> int:
    """Take in late fills whose recomputation was put off; returns how many accounts and symbols were recomputed.

    An insert takes in late fills by itself unless that means walking more than 20,000 fills. Call this when a back-fill
    has come to its end; without waiting work it costs one look-up.
    """
    number: int = await connection.fetchval("SELECT trading.settle()", timeout=600)
    return number


def _merged(first: Fill, second: Fill) -> Fill:
    later = {name: getattr(second, name) for name in _LATER if getattr(first, name) is None}
    return first._replace(**later) if later else first
