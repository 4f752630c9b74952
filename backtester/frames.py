"""A result as polars frames: one row per trade, per execution, per bar, per refusal.

Money stays exact: amounts are Decimal with 12 places. Times are UTC instants. `polars` is loaded only here.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from alpha.model.timestamp import at
from backtester.metrics import drawdowns
from backtester.result import Result

if TYPE_CHECKING:
    import polars as pl

_PLACES = Decimal("1e-12")


def trades_frame(result: Result) -> pl.DataFrame:
    """One row per trade: symbol, direction, size, times, prices, reason, gross, fees, funding, net, return, whys.

    `return_pct` is the net profit in percent of the entry value; `held` is a duration.
    """
    import polars as pl

    money = pl.Decimal(38, 12)
    rows = [
        (
            trade.symbol,
            "long" if trade.direction.sign > 0 else "short",
            _cut(trade.size),
            at(trade.entry_ms),
            _cut(trade.entry_price),
            at(trade.exit_ms),
            _cut(trade.exit_price),
            trade.reason.value,
            _cut(trade.gross),
            _cut(trade.fees),
            _cut(trade.funding),
            _cut(trade.net),
            trade.return_pct,
            trade.entry_why,
            trade.exit_why,
        )
        for trade in result.trades
    ]
    utc = pl.Datetime("ms", "UTC")
    frame = pl.DataFrame(
        rows,
        schema={
            "symbol": pl.String,
            "direction": pl.String,
            "size": money,
            "entry_time": utc,
            "entry_price": money,
            "exit_time": utc,
            "exit_price": money,
            "reason": pl.String,
            "gross": money,
            "fees": money,
            "funding": money,
            "net": money,
            "return_pct": pl.Float64,
            "entry_why": pl.String,
            "exit_why": pl.String,
        },
        orient="row",
    )
    return frame.with_columns(held=pl.col("exit_time") - pl.col("entry_time"))


def equity_frame(result: Result) -> pl.DataFrame:
    """One row per bar tested: its close (UTC), equity in USDT at it, percent below the peak, and whether anything was held."""
    import polars as pl

    return pl.DataFrame(
        {
            "time": pl.Series(result.close_ms).cast(pl.Datetime("ms", "UTC")),
            "equity": result.equity,
            "drawdown_pct": drawdowns(result.equity, float(result.cash)),
            "exposed": np.asarray(result.exposed),
        }
    )


def orders_frame(result: Result) -> pl.DataFrame:
    """One row per executed order: time, symbol, side as Bybit writes it, quantity, price, value and fee in USDT."""
    import polars as pl

    money = pl.Decimal(38, 12)
    return pl.DataFrame(
        [
            (
                at(one.time_ms),
                one.symbol,
                one.side,
                _cut(one.qty),
                _cut(one.price),
                _cut(one.qty * one.price),
                _cut(one.fee),
            )
            for one in result.fills
        ],
        schema={
            "time": pl.Datetime("ms", "UTC"),
            "symbol": pl.String,
            "side": pl.String,
            "qty": money,
            "price": money,
            "value": money,
            "fee": money,
        },
        orient="row",
    )


def refusals_frame(result: Result) -> pl.DataFrame:
    """How often an intent was not let through, by kind, most frequent first."""
    import polars as pl

    rows = sorted(result.skipped.items(), key=lambda row: (-row[1], row[0]))
    return pl.DataFrame(rows, schema={"why": pl.String, "count": pl.Int64}, orient="row")


def limits_frame(result: Result) -> pl.DataFrame:
    """Account limits that were met: time (UTC) and the sentence."""
    import polars as pl

    rows: Iterable[tuple[object, str]] = [(at(hit.time_ms), hit.text) for hit in result.limit_hits]
    return pl.DataFrame(list(rows), schema={"time": pl.Datetime("ms", "UTC"), "text": pl.String}, orient="row")


def _cut(value: Decimal) -> Decimal:
    return value.quantize(_PLACES)
