"""Whether candles made of shorter ones are the exchange's own."""

import numpy as np

from alpha.model.timestamp import at
from alpha.timeframes.aggregate import Columns

#: Prices are copied and must be equal; a volume is a sum, whose last digits depend on the order of adding.
_VOLUME_TOLERANCE = 1e-9


def disagreements(ours: Columns, theirs: Columns) -> list[str]:
    """One text for each field of each candle (same start) that differs, oldest first; candles of one side alone are left out."""
    _, here, there = np.intersect1d(ours.start_ms, theirs.start_ms, return_indices=True)
    found: list[tuple[int, str]] = []
    for field in ("open", "high", "low", "close", "volume"):
        mine, its = getattr(ours, field)[here], getattr(theirs, field)[there]
        tolerance = _VOLUME_TOLERANCE * np.abs(its) if field == "volume" else 0.0
        for place in np.flatnonzero(~(np.abs(mine - its) <= tolerance)).tolist():
            start_ms = int(ours.start_ms[here[place]])
            text = f"{at(start_ms):%Y-%m-%d %H:%M} {field} {mine[place]:.12g} instead of {its[place]:.12g}"
            found.append((start_ms, text))
    return [text for _, text in sorted(found, key=lambda one: one[0])]
