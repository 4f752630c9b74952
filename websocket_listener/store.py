"""What the listener writes to PostgreSQL besides fills: orders, watermarks, openings, snapshots, rejected messages."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import msgspec

from alpha.bybit.models import WalletCoin
from alpha.model.coin import USDT
from alpha.model.execution import SIZE_CHANGING
from alpha.model.leg import slot_of, split_slot
from alpha.model.order import CLOSED_STATUSES
from alpha.model.reason import Reason
from alpha.model.side import BUY
from alpha.model.timestamp import ms_of
from alpha.postgres.database import Connection
from alpha.postgres.sql import queries
from websocket_listener.rows import OrderRow

SQL = queries(__file__)

#: The columns of `OrderRow` with the types in which a batch travels; it is one JSON text, as a batch of fills.
_TRAVELS = {
    **dict.fromkeys(OrderRow.__struct_fields__, "text"),
    **dict.fromkeys(
        (
            *("price", "qty", "leaves_qty", "cum_exec_qty", "cum_exec_value", "avg_price"),
            *("trigger_price", "stop_loss", "take_profit"),
        ),
        "numeric",
    ),
    **dict.fromkeys(("reduce_only", "close_on_trigger"), "bool"),
    **dict.fromkeys(("created_at", "updated_at", "received_at"), "timestamptz"),
    "account_id": "int2",
}
#: Raises unless this listener holds the account's lease, and keeps it from changing hands until the transaction ends.
OnlyHolder = Callable[[Connection], Awaitable[None]]
_encode = msgspec.json.Encoder().encode
_KEY = ("account_id", "order_id")
_TERMINAL = "(" + ", ".join(f"'{status}'" for status in sorted(CLOSED_STATUSES)) + ")"

#: Later news replaces earlier. A terminal state replaces any other, whatever time that claimed, and is replaced by nothing
#: but a terminal state that has seen more fills.
_UPSERT_ORDERS = f"""
INSERT INTO trading.orders AS known ({", ".join(OrderRow.__struct_fields__)})
SELECT * FROM json_to_recordset($1::json) AS row ({", ".join(f"{name} {kind}" for name, kind in _TRAVELS.items())})
ORDER BY account_id, order_id
ON CONFLICT (account_id, order_id) DO UPDATE
SET {", ".join(f"{name} = excluded.{name}" for name in OrderRow.__struct_fields__ if name not in _KEY)}
WHERE CASE WHEN known.status IN {_TERMINAL}
           THEN excluded.status IN {_TERMINAL} AND excluded.cum_exec_qty > known.cum_exec_qty
           WHEN excluded.status IN {_TERMINAL} THEN true
           ELSE (excluded.updated_at, excluded.cum_exec_qty) >= (known.updated_at, known.cum_exec_qty) END
"""  # noqa: S608 - made of names of this file only


_OPEN_ORDERS = f"""
SELECT order_id, symbol, updated_at FROM trading.orders
WHERE account_id = $1 AND category = 'linear' AND status NOT IN {_TERMINAL} ORDER BY updated_at
"""  # noqa: S608 - made of names of this file only


async def upsert_orders(connection: Connection, rows: Iterable[OrderRow]) -> None:
    """Store the last known state of each order. Several states of one order may come in one batch, in any order; the
    first state at each level of a stop is stored on the way, for `trading.stop_levels`."""
    states: dict[tuple[int, str], list[OrderRow]] = {}
    for row in rows:
        states.setdefault((row.account_id, row.order_id), []).append(row)
    for of_order in states.values():
        of_order.sort(key=_age)
        level = None
        for row in of_order[:-1]:
            if row.trigger_price and row.trigger_price != level:
                level = row.trigger_price
                await connection.execute(_UPSERT_ORDERS, _encode([row]).decode())
    if states:
        await connection.execute(_UPSERT_ORDERS, _encode([of_order[-1] for of_order in states.values()]).decode())


async def open_orders_stored(connection: Connection, account_id: int) -> dict[str, tuple[str, int]]:
    """The orders of an account that are not in a terminal state: id to symbol and time of the last change (ms)."""
    rows = await connection.fetch(_OPEN_ORDERS, account_id)
    return {row["order_id"]: (row["symbol"], ms_of(row["updated_at"])) for row in rows}


def _age(row: OrderRow) -> tuple[bool, datetime, Decimal]:
    return row.status in CLOSED_STATUSES, row.updated_at, row.cum_exec_qty


async def moved_stops(connection: Connection, account_id: int, order_ids: Iterable[str]) -> dict[str, Reason]:
    """The stop orders among these that meant something else than a stop loss when they were last stored, with what."""
    rows = await connection.fetch(
        SQL["moved_stops"], account_id, list(order_ids), [Reason.BREAK_EVEN, Reason.TRAILING_STOP]
    )
    return {row["order_id"]: Reason(row["reason"]) for row in rows}


async def register_account(connection: Connection, environment: str, user_id: str, bot_id: str) -> int:
    """Our number for an account; asyncpg's error AL001 when it belongs to another bot."""
    number: int = await connection.fetchval(SQL["register_account"], environment, user_id, bot_id)
    return number


async def read_watermark(connection: Connection, account_id: int, category: str) -> datetime | None:
    """Up to where the executions of this account were read to their end; None for an account never read."""
    found: datetime | None = await connection.fetchval(SQL["read_to"], account_id, category)
    return found


async def move_watermark(
    connection: Connection, account_id: int, category: str, read_to: datetime, only_holder: OnlyHolder
) -> None:
    """Note that everything before `read_to` is stored; it never moves back. `only_holder` raises where another listener
    records this account by now; call it in a transaction."""
    await only_holder(connection)
    await connection.execute(
        SQL["move_watermark"],
        account_id,
        category,
        read_to,
    )


class StoredFill(NamedTuple):
    """What an opening is computed from: signed quantity (negative for a sale), price, time, sequence, order."""

    signed_qty: Decimal
    price: Decimal
    exec_time_ms: int
    seq: int
    order_id: str


#: Executions that end a contract.
DELIVERIES = frozenset({"Delivery", "Settle"})


async def stored_fills(
    connection: Connection, account_id: int, category: str, exec_types: list[str]
) -> dict[str, list[StoredFill]]:
    """The fills of an account by slot, in the order of the account. Only for the short record of a first start."""
    found: dict[str, list[StoredFill]] = {}
    for row in await connection.fetch(SQL["stored_fills"], account_id, category, exec_types):
        signed = row["qty"] if row["side"] == BUY else -row["qty"]
        fill = StoredFill(signed, row["price"], ms_of(row["exec_time"]), row["seq"], row["order_id"])
        found.setdefault(slot_of(row["symbol"], row["leg"]), []).append(fill)
    return found


async def delivered_symbols(connection: Connection, account_id: int, symbols: list[str]) -> set[str]:
    """Those of these symbols whose last fill that changes a size is a delivery or a settlement."""
    rows = await connection.fetch(SQL["delivered"], account_id, symbols, sorted(SIZE_CHANGING))
    return {row["symbol"] for row in rows if row["exec_type"] in DELIVERIES}


async def insert_opening(
    connection: Connection,
    account_id: int,
    category: str,
    slot: str,
    side: str,
    qty: Decimal,
    entry_price: Decimal,
    as_of: datetime,
) -> None:
    """Store what an account held before its record begins."""
    await connection.execute(
        SQL["insert_opening"],
        account_id,
        category,
        *split_slot(slot),
        side,
        qty,
        entry_price,
        as_of,
    )


async def insert_snapshot(
    connection: Connection, account_id: int, taken_at: datetime, coin: str, line: WalletCoin, available: Decimal | None
) -> None:
    """Store one point of the equity curve of one settle coin."""
    values = (account_id, taken_at, line.equity, line.wallet_balance, available, line.unrealised_pnl)
    columns = "account_id, taken_at, equity, wallet_balance, available, unrealised_pnl"
    if coin == USDT:
        # a schema of the release before knows no other coin
        statement = f"INSERT INTO trading.equity_snapshots ({columns}) VALUES ($1, $2, $3, $4, $5, $6)"  # noqa: S608
        await connection.execute(f"{statement} ON CONFLICT DO NOTHING", *values)
        return
    statement = f"INSERT INTO trading.equity_snapshots ({columns}, coin) VALUES ($1, $2, $3, $4, $5, $6, $7)"  # noqa: S608
    await connection.execute(f"{statement} ON CONFLICT DO NOTHING", *values, coin)
