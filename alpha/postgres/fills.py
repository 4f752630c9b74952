"""The only writer of `trading.fills`.

    result = await insert_fills(connection, rows)      # connection: alpha_listener, straight to PostgreSQL

One statement inserts a whole batch. A fill that already exists is a duplicate: it fills nulls and changes
nothing else. The database updates round trips and rollups in the same transaction.
"""

import itertools
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import asyncpg
from msgspec import Struct, structs
from msgspec.json import Encoder

from alpha.postgres.database import Connection, Record
from alpha.postgres.sql import queries

SQL = queries(__file__)


class Fill(Struct, frozen=True, gc=False):
    """One execution, as a row of `trading.fills`. Amounts are Decimal, times aware UTC.

    Values missing from REST rows are None until the stream delivers them: `exec_pnl`, sometimes `closed_size`,
    `fee_currency`. `extra_fees` is the JSON text of Bybit's list, None when empty. `leg` is the position: `both` in
    one-way mode, `long` or `short` in hedge mode.
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
    leg: str = "both"

    @property
    def key(self) -> tuple[int, str, str, str]:
        """The identity of the execution."""
        return self.account_id, self.category, self.symbol, self.exec_id


class InsertResult(NamedTuple):
    """How many rows of a batch were new, and how many were duplicates (stored before, or twice in the batch)."""

    inserted: int
    duplicates: int


#: Columns that a later copy of the same execution may fill while they are null.
_LATER = ("order_link_id", "fee_currency", "closed_size", "exec_pnl", "extra_fees")

#: The columns of `Fill` with their types in a batch.
_TRAVELS = {
    "account_id": "int2", "bot_id": "text", "category": "text", "symbol": "text", "exec_id": "text", "order_id": "text",
    "order_link_id": "text", "side": "text", "exec_type": "text", "reason": "text", "price": "numeric", "qty": "numeric",
    "value": "numeric", "fee": "numeric", "fee_currency": "text", "closed_size": "numeric", "exec_pnl": "numeric",
    "extra_fees": "text", "is_maker": "bool", "seq": "int8", "exec_time": "timestamptz", "received_at": "timestamptz",
    "leg": "text",
}  # fmt: skip
_COLUMNS = ", ".join(_TRAVELS)
_encode = Encoder().encode
#: Most recomputation steps that an insert runs itself.
_AT_ONCE = 4

#: $1 is the batch as one JSON text (`batch_of`): the client encodes it in a fifth of the time of arrays of amounts, and
#: the server reads it as fast; amounts are JSON strings, digit for digit.
#: Rows are inserted in key order, so that two writers of the same fills wait for each other but never deadlock.
#: Returns one row per inserted or completed row, with whether it was inserted; a CTE that counts them in the
#: server takes longer than sending them.
INSERT_FILLS = f"""
INSERT INTO trading.fills ({_COLUMNS})
SELECT {_COLUMNS.replace("extra_fees", "extra_fees::jsonb")}
FROM json_to_recordset($1::json) AS row ({", ".join(f"{name} {kind}" for name, kind in _TRAVELS.items())})
ORDER BY account_id, category, symbol, exec_time, seq, exec_id
ON CONFLICT (account_id, category, symbol, exec_id) DO UPDATE SET
    order_link_id = coalesce(fills.order_link_id, excluded.order_link_id),
    fee_currency = coalesce(fills.fee_currency, excluded.fee_currency),
    closed_size = coalesce(fills.closed_size, excluded.closed_size),
    exec_pnl = coalesce(fills.exec_pnl, excluded.exec_pnl),
    extra_fees = coalesce(fills.extra_fees, excluded.extra_fees),
    completed_at = clock_timestamp()
WHERE (fills.order_link_id IS NULL AND excluded.order_link_id IS NOT NULL)
    OR (fills.fee_currency IS NULL AND excluded.fee_currency IS NOT NULL)
    OR (fills.closed_size IS NULL AND excluded.closed_size IS NOT NULL)
    OR (fills.exec_pnl IS NULL AND excluded.exec_pnl IS NOT NULL)
    OR (fills.extra_fees IS NULL AND excluded.extra_fees IS NOT NULL)
RETURNING completed_at IS NULL AS inserted
"""  # noqa: S608 - made of names of this file only
#: The same for a schema before 0049: without the column, the row's system column tells it (a partitioned table has none).
_INSERT_BEFORE_49 = INSERT_FILLS.replace(",\n    completed_at = clock_timestamp()", "").replace(
    "completed_at IS NULL", "(xmax = 0)"
)


def batch_of(rows: Iterable[Fill]) -> str:
    """The argument of `INSERT_FILLS` for these rows, which must have distinct keys."""
    return _encode(list(rows)).decode()


async def insert_fills(connection: Connection, rows: Iterable[Fill]) -> InsertResult:
    """Store a batch of executions, each once, whatever was stored before.

    Run it inside the caller's transaction to commit it with other rows, or alone: it is one statement.
    Raises asyncpg's errors; an integrity error means that a row cannot be stored (an unknown account, a side other
    than Buy or Sell) and that nothing of the batch was stored.
    """
    unique: dict[tuple[int, str, str, str], Fill] = {}
    count = 0
    for fill in rows:
        count += 1
        key = fill.key
        seen = unique.get(key)
        unique[key] = fill if seen is None else _merged(seen, fill)
    if not unique:
        return InsertResult(0, 0)
    rows_back = await _statement.run(connection, batch_of(unique.values()))
    inserted = sum(row[0] for row in rows_back)
    if inserted < len(rows_back):
        # a newly known closed_size may have changed the order within a unit
        await recompute_pending(connection, most_steps=_AT_ONCE)
    return InsertResult(inserted, count - inserted)


class _Statement:
    """`INSERT_FILLS`, or the form for an older schema; which one is found by trying."""

    def __init__(self) -> None:
        self._text = INSERT_FILLS

    async def run(self, connection: Connection, batch: str) -> list[Record]:
        """Insert the batch. Raises InvalidCachedStatementError, which passes, when a transaction has to begin again."""
        try:
            return await connection.fetch(self._text, batch)
        except (asyncpg.UndefinedColumnError, asyncpg.FeatureNotSupportedError) as fault:
            self._text = INSERT_FILLS if self._text is _INSERT_BEFORE_49 else _INSERT_BEFORE_49
            if connection.is_in_transaction():
                raise asyncpg.InvalidCachedStatementError(f"The schema has changed: {fault}.") from None
            return await connection.fetch(self._text, batch)


_statement = _Statement()


async def recompute_pending(connection: Connection, most_steps: int | None = None) -> int:
    """Recompute what late fills changed and what was deferred; returns how many ledgers were recomputed.

    An insert applies late fills itself unless that means replaying more than 20,000 fills. Call this when a backfill
    has finished, outside a transaction: each step is its own transaction and locks a ledger only while writing.
    Without pending work it costs one lookup. After `most_steps` it leaves the rest to the next call.
    """
    done = 0
    for _ in itertools.count() if most_steps is None else range(most_steps):
        ledger_done = await connection.fetchval(SQL["recompute_step"], timeout=600)
        if ledger_done is None:
            break
        done += ledger_done
    return done


def _merged(first: Fill, second: Fill) -> Fill:
    later = {name: getattr(second, name) for name in _LATER if getattr(first, name) is None}
    return structs.replace(first, **later) if later else first
