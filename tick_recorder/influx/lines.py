"""Rows as line protocol. InfluxDB silently overwrites points of equal series and time, so a time is ms * 10^6 + ordinal."""

import polars as pl

from tick_recorder.schema import Kind

#: The kinds sent to InfluxDB, and a field that every point of the kind has.
COUNTED = {Kind.TRADES: "price", Kind.BBO: "update_id"}


def to_lines(kind: Kind, symbol: str, frame: pl.DataFrame) -> list[str]:
    """One line per row. Measurement `trades`: tags symbol and side, fields price, size (float) and seq (integer).
    `bbo`: tag symbol, fields bid, bid_size, ask, ask_size (float; absent for an empty side) and update_id (integer).
    """
    time_ns = (pl.col("ts").dt.timestamp("ms") * 1_000_000 + pl.col("ordinal").cast(pl.Int64)).cast(pl.String)
    if kind is Kind.TRADES:
        fields = pl.concat_str(
            pl.lit("price="),
            _number("price"),
            pl.lit(",size="),
            _number("size"),
            pl.lit(",seq="),
            pl.col("seq"),
            pl.lit("i"),
        )
        head = pl.concat_str(pl.lit(f"trades,symbol={symbol},side="), pl.col("side"))
    else:
        parts = []
        for name in ("bid_price", "bid_size", "ask_price", "ask_size"):
            field = name.removesuffix("_price")
            parts.append(pl.concat_str(pl.lit(f"{field}="), _number(name), pl.lit(",")).fill_null(""))
        fields = pl.concat_str(*parts, pl.lit("update_id="), pl.col("update_id"), pl.lit("i"))
        head = pl.lit(f"bbo,symbol={symbol}")
    return frame.select(pl.concat_str(head, pl.lit(" "), fields, pl.lit(" "), time_ns)).to_series().to_list()


def _number(name: str) -> pl.Expr:
    """A decimal as text, without trailing zeros."""
    return pl.col(name).cast(pl.String).str.strip_chars_end("0").str.strip_chars_end(".")
