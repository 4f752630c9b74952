"""Measures execution cost: each fill against the quotes around it. Pure functions on data frames.

All figures are in basis points of the mid price, positive if the fill was worse for us (for `after_*`, the markout: if the
price moved in our favour). A fill is measured against the last quote *before* its millisecond, because a quote of the same
millisecond may already reflect the fill. If a gap lies between the quote and the time it is used for, the figure is null.

    slippage = side * (price - mid) / mid          arrival cost: half the spread plus market impact
    delay    = side * (mid - decision) / decision  market move between decision and fill
    after_h  = side * (mid(t + h) - mid) / mid     h = 1, 5, 30 s; side is 1 for a buy, -1 for a sell
"""

from collections.abc import Mapping, Sequence

import polars as pl

from tick_recorder.schema import MONEY, TS

#: Markout horizons in seconds.
HORIZONS = (1, 5, 30)
_BPS = 10_000
#: Required columns of a frame of fills. `order_kind` and `decision_price` are null if no intent was recorded.
FILL_COLUMNS = (
    *("exec_id", "bot_id", "symbol", "ts", "side", "price", "qty", "value", "is_maker", "reason"),
    *("order_kind", "decision_price"),
)


def measure(
    fills: pl.DataFrame,
    quotes: Mapping[str, pl.DataFrame],
    gaps: Mapping[str, pl.DataFrame],
    horizons: Sequence[int] = HORIZONS,
) -> pl.DataFrame:
    """Every fill with `mid`, `spread_bps`, `slippage_bps`, `delay_bps` and one `after_<s>s_bps` per horizon.

    `fills` has the columns FILL_COLUMNS; `quotes` and `gaps` are frames of `read_ticks(..., "bbo")` and `read_gaps(...)`
    by symbol. A fill without a usable quote has nulls.
    """
    parts = [
        _of_symbol(part, quotes.get(str(symbol)), gaps.get(str(symbol)), horizons)
        for (symbol,), part in fills.group_by("symbol", maintain_order=True)
    ]
    names = [f"after_{seconds}s_bps" for seconds in horizons]
    if not parts:
        nothing = dict.fromkeys(("mid", "spread_bps", "slippage_bps", "delay_bps", *names), pl.Float64)
        return fills.with_columns(pl.lit(None, dtype=dtype).alias(name) for name, dtype in nothing.items())
    return pl.concat(parts).sort("ts", maintain_order=True)


def quotes_around(
    fills: pl.DataFrame, quotes: pl.DataFrame | None, gaps: pl.DataFrame | None, horizons: Sequence[int] = HORIZONS
) -> pl.DataFrame:
    """`fills` of one symbol, which have at least `ts`, with the exact `mid` and `spread` at the last quote before each and
    one `mid_<s>s` per horizon; null where there is none or a gap lies in between.
    """
    mids = _mids(quotes)
    found = _at(fills, mids, gaps, pl.col("ts"), "mid", before=True).rename({"mid_spread": "spread"})
    for seconds in horizons:
        found = _at(found, mids, gaps, pl.col("ts") + pl.duration(seconds=seconds), f"mid_{seconds}s", before=False)
    return found.select(*fills.columns, "mid", "spread", *(f"mid_{seconds}s" for seconds in horizons))


def _of_symbol(
    fills: pl.DataFrame, quotes: pl.DataFrame | None, gaps: pl.DataFrame | None, horizons: Sequence[int]
) -> pl.DataFrame:
    names = ("price", "decision_price", "mid", "spread", *(f"mid_{seconds}s" for seconds in horizons))
    found = quotes_around(fills.sort("ts", maintain_order=True), quotes, gaps, horizons)
    side = pl.when(pl.col("side") == "Buy").then(1.0).otherwise(-1.0)
    price, decision, mid, spread, *later = (pl.col(name).cast(pl.Float64) for name in names)
    figures = {
        "mid": mid,
        "spread_bps": spread / mid * _BPS,
        "slippage_bps": side * (price - mid) / mid * _BPS,
        "delay_bps": side * (mid - decision) / decision * _BPS,
        **{
            f"after_{seconds}s_bps": side * (after - mid) / mid * _BPS
            for seconds, after in zip(horizons, later, strict=True)
        },
    }
    return found.with_columns(**figures).select(*fills.columns, *figures)


def _mids(quotes: pl.DataFrame | None) -> pl.DataFrame:
    """Time, mid and spread of every two-sided quote."""
    if quotes is None:
        return pl.DataFrame(schema={"quote_ts": TS, "mid": MONEY, "spread": MONEY})
    bid, ask = pl.col("bid_price"), pl.col("ask_price")
    return (
        quotes.sort("ts", "ordinal")
        .select(quote_ts="ts", mid=((bid + ask) / 2).cast(MONEY), spread=(ask - bid).cast(MONEY))
        .unique("quote_ts", keep="last", maintain_order=True)
    )


def _at(
    rows: pl.DataFrame, mids: pl.DataFrame, gaps: pl.DataFrame | None, moment: pl.Expr, name: str, *, before: bool
) -> pl.DataFrame:
    """`rows` with the mid at `moment`; null if there is none or a gap lies in between."""
    at = rows.select(row=pl.int_range(pl.len()), moment=moment.dt.cast_time_unit("ms")).sort("moment")
    found = at.join_asof(
        mids, left_on="moment", right_on="quote_ts", strategy="backward", allow_exact_matches=not before
    )
    if gaps is not None and len(gaps):
        holes = (
            gaps.select(gap_ts=pl.col("ts"), until="until")
            .sort("gap_ts")
            .with_columns(
                open_until=pl.col("until").fill_null(pl.datetime(2100, 1, 1, time_unit="ms", time_zone="UTC")).cum_max()
            )
        )
        found = found.join_asof(
            holes, left_on="moment", right_on="gap_ts", strategy="backward", allow_exact_matches=False
        )
        usable = pl.col("open_until").is_null() | (pl.col("open_until") <= pl.col("quote_ts"))
        found = found.with_columns(pl.when(usable).then(pl.col(column)).alias(column) for column in ("mid", "spread"))
    found = found.sort("row")
    return rows.with_columns(found["mid"].alias(name), found["spread"].alias(f"{name}_spread"))


def summarise(measured: pl.DataFrame, by: Sequence[str] = (), horizons: Sequence[int] = HORIZONS) -> pl.DataFrame:
    """Value-weighted means per group: `bot_id`, `symbol`, `order_kind`, `hour` (UTC) or `size`.

    `fills` counts all fills, `measured` those with a quote. `slippage_usdt` is the cost in the settle coin.
    """
    value = pl.col("value").cast(pl.Float64)
    rows = measured.with_columns(
        order_kind=pl.coalesce("order_kind", pl.when("is_maker").then(pl.lit("maker")).otherwise(pl.lit("taker"))),
        hour=pl.col("ts").dt.hour(),
        size=pl.when(value < 100).then(pl.lit("< 100"))
        .when(value < 1_000).then(pl.lit("100 - 1,000"))
        .when(value < 10_000).then(pl.lit("1,000 - 10,000"))
        .otherwise(pl.lit("> 10,000")),
    )  # fmt: skip

    def mean(name: str) -> pl.Expr:
        known = pl.col(name).is_not_null()
        return ((pl.col(name) * value).filter(known).sum() / value.filter(known).sum()).fill_nan(None).alias(name)

    figures = [
        pl.len().alias("fills"),
        pl.col("slippage_bps").is_not_null().sum().alias("measured"),
        value.sum().alias("value_usdt"),
        (pl.col("slippage_bps") * value / _BPS).sum().alias("slippage_usdt"),
        *(mean(name) for name in ("spread_bps", "slippage_bps", "delay_bps")),
        *(mean(f"after_{seconds}s_bps") for seconds in horizons),
    ]
    if not by:
        return rows.select(figures)
    return rows.group_by(*by, maintain_order=True).agg(figures).sort(*by)


def worse_than_assumed(measured: pl.DataFrame, assumed_bps: float) -> str | None:
    """A warning if taker slippage exceeds the back-test's assumption; None otherwise, or if nothing was measured.

    A back-test that fills at the mid or last price does not pay half the spread, so the whole slippage is compared.
    """
    total = summarise(measured.filter(~pl.col("is_maker")))
    mean = total["slippage_bps"][0] if len(total) else None
    if mean is None or mean <= assumed_bps:
        return None
    return (
        f"Market orders cost {mean:.2f} bps, more than the {assumed_bps:g} bps that the back-test assumes: "
        f"repeat it with --slippage-bps {mean:.1f}."
    )
