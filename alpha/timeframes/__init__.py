"""Candles of a longer interval out of shorter ones, and which of them is known when. Pure.

Boundaries are UTC: multiples of the interval since the epoch, days at 00:00, weeks on Monday. A longer candle exists only
when all its parts do; a hole is a hole, never a flat candle.
"""

from alpha.timeframes.aggregate import Columns, aggregate, from_place, known_at
from alpha.timeframes.agreement import disagreements
from alpha.timeframes.boundaries import frame_ms, frame_start

__all__ = ["Columns", "aggregate", "disagreements", "frame_ms", "frame_start", "from_place", "known_at"]
