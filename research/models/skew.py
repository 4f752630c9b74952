"""Skew: the features that were sent for stored scores, against those recomputed from recorded candles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alpha.errors import Misconfigured
from alpha.model.timestamp import ms_of
from alpha.scoring.features import FeatureSet, row_hash
from backtester.candle_files import read_folder
from research.models.dataset import columns_of


@dataclass(frozen=True, slots=True)
class Skew:
    """How many rows were compared, how many differ, and that in a sentence which names the first feature that does."""

    rows: int
    differing: int
    text: str


def compare_features(names: Sequence[str], interval: str, stored: Sequence[Mapping[str, Any]], data: Path) -> Skew:
    """Compare rows of `trading.predictions` with the candles of a folder. Misconfigured when it holds none of their bars."""
    features = FeatureSet(names, interval)
    compared = differing = 0
    first = ""
    for symbol, bars in read_folder(data).items():
        columns = columns_of(bars)
        computed = features.compute(columns)
        places = {int(start): place for place, start in enumerate(columns.start_ms)}
        for row in stored:
            place = places.get(ms_of(row["closed_at"]) - features.interval_ms) if row["symbol"] == symbol else None
            if place is None or place + 1 < features.history:
                continue
            compared += 1
            if row_hash(computed[place]) == row["features_hash"]:
                continue
            differing += 1
            sent = np.asarray(row["features"], dtype=np.float32)
            wrong = int(np.flatnonzero(sent != computed[place])[0]) if (sent != computed[place]).any() else 0
            first = first or (
                f" The first: {names[wrong]} of {symbol} at {row['closed_at']:%Y-%m-%d %H:%M} UTC was {sent[wrong]:.7g}, and "
                f"the candles give {computed[place, wrong]:.7g}."
            )
    if not compared:
        raise Misconfigured(f"{data} has no candles of the bars that were scored. Give the folder of those bars.")
    if not differing:
        return Skew(compared, 0, f"No skew: {compared:,} rows of features are what the candles give.")
    return Skew(
        compared, differing, f"Skew: {differing:,} of {compared:,} rows differ from what the candles give.{first}"
    )
