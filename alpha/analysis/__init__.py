"""Indicators and ratings of one symbol on one timeframe. Pure: used by strategies, back-test and `analysis_service` alike.

A value depends only on a fixed number of closed candles before it (see `alpha.indicators`), so that a window of history
gives bit for bit what the whole history gives, and nothing after a candle can change what is said of it.
"""

from alpha.analysis.catalogue import KINDS, Group, Kind
from alpha.analysis.compute import Analysis, analyse, analyse_together, consecutive_tail
from alpha.analysis.definition import MOST_HISTORY, Definition, Indicator, parse_definition, read_definition
from alpha.analysis.rating import Label, combined, label_of

__all__ = [
    "KINDS",
    "MOST_HISTORY",
    "Analysis",
    "Definition",
    "Group",
    "Indicator",
    "Kind",
    "Label",
    "analyse",
    "analyse_together",
    "combined",
    "consecutive_tail",
    "label_of",
    "parse_definition",
    "read_definition",
]
