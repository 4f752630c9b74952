"""Indicators over closed bars, in compiled code; a window of history gives bit for bit the values of the whole."""

from alpha.indicators.bands import Bands, bollinger, relative_volume
from alpha.indicators.days import Days, completed_days
from alpha.indicators.oscillators import adx, adx_history, rsi, rsi_history
from alpha.indicators.recursive import DAY_MS, bars_of_history, ema, ema_warm_up, wilder, wilder_warm_up
from alpha.indicators.rolling import (
    Floats,
    change_pct,
    deviation,
    lagged,
    ratio,
    rolling_sum,
    share_below,
    sma,
)

__all__ = [
    "DAY_MS",
    "Bands",
    "Days",
    "Floats",
    "adx",
    "adx_history",
    "bars_of_history",
    "bollinger",
    "change_pct",
    "completed_days",
    "deviation",
    "ema",
    "ema_warm_up",
    "lagged",
    "ratio",
    "relative_volume",
    "rolling_sum",
    "rsi",
    "rsi_history",
    "share_below",
    "sma",
    "wilder",
    "wilder_warm_up",
]
