"""Why a model gives no score at a bar. The same rules in the model server, in a bot and in a back-test."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from alpha.model.timestamp import at
from alpha.scoring.drift import drift_of, drift_text
from alpha.scoring.manifest import Scoreable

HOUR_MS = 3_600_000
NO_FEATURES = "gap: a feature has no value, candles are missing"


def expired(manifest: Scoreable, closed_ms: int) -> str:
    """A sentence when the model is too old for a bar that closed at `closed_ms` (business time), else an empty text."""
    age_ms = closed_ms - manifest.trained_to_ms
    if age_ms <= manifest.expires_hours * HOUR_MS:
        return ""
    return (
        f"expired: {manifest.name} was trained on data up to {at(manifest.trained_to_ms):%Y-%m-%d %H:%M} UTC, "
        f"{age_ms // HOUR_MS} h before; {manifest.expires_hours} h are allowed"
    )


def not_trained_for(manifest: Scoreable, symbol: str) -> str:
    """A sentence when the model has never seen the symbol, else an empty text."""
    return "" if symbol in manifest.ranges else f"refused: {manifest.name} was not trained on {symbol}"


def refusal(manifest: Scoreable, symbol: str, rows: NDArray[np.float32], closed_ms: int) -> str:
    """Why the newest of these rows of features, of a bar that closed at `closed_ms`, gets no score; an empty text if it does.

    `rows` are those of the last `drift_bars` bars, oldest first; with fewer, drift is not judged.
    """
    if untrained := not_trained_for(manifest, symbol):
        return untrained
    if not len(rows) or np.isnan(rows[-1]).any():
        return NO_FEATURES
    if old := expired(manifest, closed_ms):
        return old
    drifted = int(drift_of(manifest, symbol, rows)[-1])
    return drift_text(manifest, symbol, drifted) if drifted >= 0 else ""


def needs_ticks(name: str, features: Sequence[str]) -> str:
    """Why a model with features from ticks scores nowhere but in training."""
    return f"{name} uses {', '.join(features)}, which come from recorded ticks, and neither a bot nor a back-test has those"
