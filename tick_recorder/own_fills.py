"""Our own fills, as `tick_recorder.slippage` needs them."""

from typing import Any

import polars as pl

from alpha.db.pool import Connection
from tick_recorder.schema import MONEY, TS

#: The end is the newest fill: business time, which on a simulated exchange is not the wall clock's.
_FILLS = """
SELECT exec_id, bot_id, symbol, exec_time, side, price, qty, value, is_maker, reason
FROM trading.fills
WHERE exec_type = 'Trade' AND category = 'linear' AND ($1::text IS NULL OR bot_id = $1)
  AND exec_time > (SELECT max(exec_time) FROM trading.fills WHERE $1::text IS NULL OR bot_id = $1) - make_interval(days => $2)
ORDER BY exec_time, seq
"""


async def read_fills(connection: Connection, bot_id: str | None, days: int) -> pl.DataFrame:
    """The trades of a bot, or of all, in the last `days` days up to the newest; without intents no decision prices."""
    rows = await connection.fetch(_FILLS, bot_id, days)
    columns: dict[str, Any] = {
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
    }
    data = {
        name: pl.Series(name, [row[number] for row in rows], dtype=dtype)
        for number, (name, dtype) in enumerate(columns.items())
    }
    return pl.DataFrame(data).with_columns(decision_price=pl.lit(None, dtype=MONEY))
