"""Why there is no score: decided alike bar by bar, as a bot does, and over a whole series, as a back-test does."""

from pathlib import Path

import numpy as np
import pytest

from alpha.scoring.drift import STOP, bins_of, deciles, expected_shares, psi, rolling_psi
from alpha.scoring.features import FeatureSet
from alpha.scoring.local import Session, score_bars
from alpha.scoring.manifest import read_artefact
from alpha.scoring.refusals import refusal
from alpha.timeframes import Columns
from research.models.dataset import columns_of
from research.models.markets import random_walk
from tests.support.models import artefact, needs_training_packages

pytestmark = needs_training_packages
BAR_MS = 300_000


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(read_artefact(artefact(tmp_path, effect=1.5)))


def test_a_bot_and_a_back_test_find_the_same_bars_without_a_score(session: Session) -> None:
    manifest = session.manifest
    features = FeatureSet(manifest.features, manifest.interval)
    bars = columns_of(random_walk(5, 3_000, "SOLUSDT"))
    # from the middle on volumes are constant but for a last bit: the feature leaves what training knew
    volume = bars.volume.copy()
    volume[1_800:] = 100.0 + np.arange(1_200) % 2
    candles = bars._replace(volume=volume)
    whole = score_bars(session, "SOLUSDT", BAR_MS, candles)
    reasons = [
        whole.texts[code] if value != value else "" for value, code in zip(whole.values, whole.codes, strict=True)
    ]
    assert reasons[0].startswith("gap")
    assert reasons[1_500] == ""
    assert "volume(20) of SOLUSDT" in reasons[2_600]
    rows = features.compute(candles)
    for place in range(1_000, 3_000, 37):
        window = rows[max(0, place + 1 - manifest.drift_bars) : place + 1]
        closed_ms = int(candles.start_ms[place]) + BAR_MS
        assert refusal(manifest, "SOLUSDT", window, closed_ms) == reasons[place]


def test_a_model_that_is_too_old_or_was_not_trained_on_a_symbol_is_not_asked(session: Session) -> None:
    manifest = session.manifest
    rows = np.zeros((1, len(manifest.features)), dtype=np.float32)
    limit_ms = manifest.trained_to_ms + manifest.expires_hours * 3_600_000
    assert refusal(manifest, "SOLUSDT", rows, limit_ms) == ""
    assert refusal(manifest, "SOLUSDT", rows, limit_ms + 1).startswith("expired")
    assert "not trained on DOGEUSDT" in refusal(manifest, "DOGEUSDT", rows, limit_ms)
    late = columns_of(random_walk(5, 1_000, "SOLUSDT"))
    late = Columns(late.start_ms + limit_ms, *late[1:])
    assert np.isnan(score_bars(session, "SOLUSDT", BAR_MS, late).values).all()
    assert np.isnan(score_bars(session, "DOGEUSDT", BAR_MS, late).values).all()
    assert np.isnan(score_bars(session, "SOLUSDT", 2 * BAR_MS, late).values).all()


def test_the_index_equals_its_formula_and_is_zero_for_the_training_values_themselves() -> None:
    values = np.random.default_rng(1).normal(size=5_000).astype(np.float32)
    edges = deciles(values)
    shares = expected_shares(values, edges)
    assert rolling_psi(bins_of(values, edges), shares, len(values))[-1] == pytest.approx(0.0, abs=1e-12)
    actual = np.full(10, 0.05)
    actual[0] = 0.55
    by_hand = sum((a - 0.1) * np.log(a / 0.1) for a in actual)
    assert float(psi(actual, [0.1] * 10)) == pytest.approx(by_hand)
    assert by_hand > STOP
