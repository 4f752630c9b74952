"""Our own fills, in the form that `tick_recorder.slippage` needs."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from alpha.postgres.database import Connection
from alpha.postgres.sql import queries
from tick_recorder.schema import MONEY, TS
from tick_recorder.slippage import HORIZONS

SQL = queries(__file__)

_COLUMNS: Mapping[str, Any] = {
    "exec_id": pl.String,
    "bot_id": pl.String,
    "symbol": pl.String,
    "ts": TS,
    "side": pl.String,
    "price": MONEY,
    "qty": MONEY,
    "value": MONEY,
    "is_maker": pl.Boolean,
    "reason": pl.String,
    "order_kind": pl.String,
    "decision_price": MONEY,
}

#: The end is the newest fill: business time, which on a simulated exchange is not the wall clock's.
_FILLS = """
SELECT f.exec_id, f.bot_id, f.symbol, f.exec_time, f.side, f.price, f.qty, f.value, f.is_maker, f.reason, {decided}
FROM trading.fills f {intents}
WHERE f.exec_type = 'Trade' AND f.category = 'linear' AND ($1::text IS NULL OR f.bot_id = $1)
  AND f.exec_time > (SELECT max(exec_time) FROM trading.fills WHERE $1::text IS NULL OR bot_id = $1)
                    - make_interval(days => $2)
ORDER BY f.exec_time, f.seq
"""
_WITH = {
    "decided": "i.order_kind, i.decision_price",
    "intents": "LEFT JOIN trading.order_intents i USING (account_id, order_link_id)",
}
_WITHOUT = {"decided": "NULL::text, NULL::numeric", "intents": ""}


async def read_fills(connection: Connection, bot_id: str | None, days: int) -> pl.DataFrame:
    """The trades of a bot, or of all, in the last `days` days up to the newest.

    Order kind and decision price come from the bots' intents; both are null where none was recorded.
    """
    recorded = await connection.fetchval(SQL["has_intents"])
    rows = await connection.fetch(_FILLS.format_map(_WITH if recorded else _WITHOUT), bot_id, days)
    return _frame(rows, _COLUMNS)


async def read_costs(connection: Connection, bot_id: str | None, days: int) -> pl.DataFrame:
    """The same trades with the figures of `tick_recorder.slippage.measure`, as far as the recorder has stored them."""
    rows = await connection.fetch(SQL["costs"], bot_id, days)
    names = ("mid", "spread_bps", "slippage_bps", "delay_bps", *(f"after_{seconds}s_bps" for seconds in HORIZONS))
    return _frame(rows, {**_COLUMNS, **dict.fromkeys(names, pl.Float64)})


def _frame(rows: Sequence[Any], columns: Mapping[str, Any]) -> pl.DataFrame:
    data = {
        name: pl.Series(name, [row[number] for row in rows], dtype=dtype)
        for number, (name, dtype) in enumerate(columns.items())
    }
    return pl.DataFrame(data)
