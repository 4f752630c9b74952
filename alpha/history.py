"""What happened live, as polars frames from PostgreSQL: fills, round trips, equity.

    settings = load(DatabaseSettings)
    trades = history.round_trips("momentum_001", since, until, settings=settings)

The same columns as a back-test's frames where both have them, so that one notebook cell draws either. `polars` is loaded
only here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from alpha.config.services import DatabaseSettings
from alpha.errors import Misconfigured
from alpha.postgres.database import connect
from alpha.postgres.sql import queries

if TYPE_CHECKING:
    import polars as pl

SQL = queries(__file__)


def fills(bot: str, since: datetime, until: datetime, *, settings: DatabaseSettings) -> pl.DataFrame:
    """Every execution of a bot in `since <= time < until` (aware times), in the exchange's order. Funding rows too."""
    return _frame(SQL["fills"], bot, since, until, settings)


def round_trips(bot: str, since: datetime, until: datetime, *, settings: DatabaseSettings) -> pl.DataFrame:
    """Every position of a bot that ended in `since <= exit_time < until`; amounts in the symbol's settle coin, net = gross - fees + funding."""
    frame = _frame(SQL["round_trips"], bot, since, until, settings)
    import polars as pl

    return frame.with_columns(held=pl.col("exit_time") - pl.col("entry_time"))


def equity(bot: str, since: datetime, until: datetime, *, settings: DatabaseSettings) -> pl.DataFrame:
    """The recorded equity of a bot's account, USDT, in `since <= time < until`."""
    return _frame(SQL["equity"], bot, since, until, settings)


def _frame(query: str, bot: str, since: datetime, until: datetime, settings: DatabaseSettings) -> pl.DataFrame:
    for name, time in (("since", since), ("until", until)):
        if time.tzinfo is None:
            raise Misconfigured(f"{name} {time} has no time zone: make it aware, such as datetime(..., tzinfo=UTC).")
    # In a thread of its own: a notebook's event loop already runs in this one.
    with ThreadPoolExecutor(1) as worker:
        found = worker.submit(asyncio.run, _rows(query, (bot, since, until), settings)).result()
    return _as_frame(found)


async def _rows(
    query: str, arguments: Sequence[Any], settings: DatabaseSettings
) -> tuple[list[Any], list[tuple[str, str]]]:
    connection = await connect(settings, "history")
    try:
        prepared = await connection.prepare(query)
        columns = [(one.name, one.type.name) for one in prepared.get_attributes()]
        return list(await prepared.fetch(*arguments)), columns
    finally:
        await connection.close()


def _as_frame(found: tuple[list[Any], list[tuple[str, str]]]) -> pl.DataFrame:
    import polars as pl

    rows, columns = found
    kinds: dict[str, Any] = {
        "numeric": pl.Decimal(38, 12),
        "timestamptz": pl.Datetime("us", "UTC"),
        "bool": pl.Boolean,
        "int4": pl.Int64,
        "int8": pl.Int64,
    }
    schema = {name: kinds.get(kind, pl.String) for name, kind in columns}
    values = [[_value(value) for value in row] for row in rows]
    return pl.DataFrame(values, schema=schema, orient="row")


def _value(value: Any) -> Any:
    return value.quantize(Decimal("1e-12")) if isinstance(value, Decimal) else value
