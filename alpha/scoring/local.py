"""Scores computed in this process, for back-tests: those that the model server gives for the same artefact, to the bit.

Needs onnxruntime, which no bot's image has.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alpha.errors import Misconfigured
from alpha.scoring.drift import drift_of, drift_text
from alpha.scoring.features import FeatureSet
from alpha.scoring.manifest import Artefact, find_artefact
from alpha.scoring.refusals import NO_FEATURES, expired, needs_ticks, not_trained_for
from alpha.timeframes import Columns

INPUT, OUTPUT = "features", "score"
TOLERANCE = 1e-5


class Session:
    """An artefact as a function: rows of features in, scores out. One thread, so that sums always have the same order."""

    def __init__(self, artefact: Artefact) -> None:
        """Misconfigured when the artefact is not a model of its own manifest, or answers its reference rows otherwise."""
        import onnxruntime

        self.artefact = artefact
        self.manifest = manifest = artefact.manifest
        expected = FeatureSet(manifest.features, manifest.interval).schema
        if expected != manifest.schema:
            raise Misconfigured(
                f"The model {manifest.name} {artefact.short} was trained with other formulas of its features: train it again."
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session: Any = onnxruntime.InferenceSession(
                artefact.model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as fault:  # noqa: BLE001 - onnxruntime has no common class for what it cannot load
            raise Misconfigured(f"onnxruntime cannot load {manifest.name} {artefact.short}: {fault}.") from None
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if [one.name for one in inputs] != [INPUT] or [one.name for one in outputs] != [OUTPUT]:
            raise Misconfigured(f"The model {manifest.name} {artefact.short} must have one input and one output.")
        self.replay()

    def replay(self) -> None:
        """Answer the reference rows of the manifest. Misconfigured when a score differs by more than 1e-5."""
        reference = self.manifest.reference
        rows = np.asarray(reference.rows, dtype=np.float32).reshape(-1, len(self.manifest.features))
        if not len(rows) or len(rows) != len(reference.scores):
            raise Misconfigured(f"The model {self.manifest.name} {self.artefact.short} has no reference rows.")
        away = float(np.abs(self.scores(rows).astype(np.float64) - np.asarray(reference.scores)).max())
        if not away <= TOLERANCE:
            raise Misconfigured(
                f"The model {self.manifest.name} {self.artefact.short} answers its reference rows otherwise than in training: "
                f"{away:.2g} apart, {TOLERANCE:g} allowed."
            )

    def scores(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """The score of each row (float32, shape (n, features) to (n,))."""
        found: NDArray[np.float32] = self._session.run([OUTPUT], {INPUT: np.ascontiguousarray(rows)})[0]
        return found.reshape(-1)


class LocalScores:
    """Scores of every bar of a series, by the name of the model."""

    def __init__(self, sessions: Mapping[str, Session]) -> None:
        self._sessions = dict(sessions)

    @classmethod
    def open(cls, models: Path, chosen: Mapping[str, str]) -> "LocalScores":
        """The artefacts of `chosen` (name to version) below the folder `models`. Misconfigured when one is missing."""
        return cls({name: Session(find_artefact(models, name, version)) for name, version in chosen.items()})

    def of(self, names: Sequence[str], symbol: str, interval_ms: int, candles: Columns) -> dict[str, "Scored"]:
        """The scores of these models at every one of these consecutive candles."""
        return {name: self._score(name, symbol, interval_ms, candles) for name in names}

    def _score(self, name: str, symbol: str, interval_ms: int, candles: Columns) -> "Scored":
        session = self._sessions.get(name)
        if session is None:
            return Scored(
                np.full(len(candles.close), np.nan),
                np.zeros(len(candles.close), dtype=np.int64),
                ("no model was chosen",),
            )
        return score_bars(session, symbol, interval_ms, candles)


class Scored:
    """Scores as arrays: `values` (NaN: none), and for those the number of their reason in `texts`."""

    __slots__ = ("codes", "texts", "values")

    def __init__(self, values: NDArray[np.float64], codes: NDArray[np.int64], texts: Sequence[str]) -> None:
        self.values, self.codes, self.texts = values, codes, tuple(texts)


def score_bars(session: Session, symbol: str, interval_ms: int, candles: Columns) -> Scored:
    """The score of every candle, or why it has none."""
    manifest, count = session.manifest, len(candles.close)
    values, codes = np.full(count, np.nan), np.zeros(count, dtype=np.int64)
    features = FeatureSet(manifest.features, manifest.interval)
    if interval_ms != features.interval_ms:
        return Scored(values, codes, (f"refused: {manifest.name} was trained on {manifest.interval}-minute bars",))
    if features.tick_features:
        return Scored(values, codes, (f"refused: {needs_ticks(manifest.name, features.tick_features)}",))
    untrained = not_trained_for(manifest, symbol)
    if untrained:
        return Scored(values, codes, (untrained,))
    rows = features.compute(candles)
    known = ~np.isnan(rows).any(axis=1)
    texts = [NO_FEATURES]
    closes = candles.start_ms + interval_ms
    late = closes - manifest.trained_to_ms > manifest.expires_hours * 3_600_000
    if late.any():
        texts.append(expired(manifest, int(closes[-1])).partition(",")[0])
        codes[late] = len(texts) - 1
    drifted = drift_of(manifest, symbol, rows)
    for place in np.unique(drifted[drifted >= 0]).tolist():
        texts.append(drift_text(manifest, symbol, place))
        codes[(drifted == place) & ~late] = len(texts) - 1
    usable = known & ~late & (drifted < 0)
    if usable.any():
        values[usable] = session.scores(rows[usable]).astype(np.float64)
    codes[~known] = 0
    return Scored(values, codes, texts)
