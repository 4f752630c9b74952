"""Models that a bot does not even ask: trained with other formulas, on ticks, or on other bars."""

from unittest.mock import AsyncMock

import pytest

from alpha.scoring.features import FeatureSet
from alpha.scoring.labels import Label
from alpha.strategy.bars import Series
from bot_runner.predictions import ScoringManifest, Served
from bot_runner.scorer import Scorer
from tests.support.toy_strategies import random_bars

HOUR_MS = 3_600_000


def served(features: list[str], *, interval: str = "60", schema: str | None = None) -> Served:
    manifest = ScoringManifest(
        name="m",
        interval=interval,
        features=features,
        schema=FeatureSet(features, interval).schema if schema is None else schema,
        label=Label("sign", "long", 3, 0.0005, 0.0),
        trained_to_ms=2**42,
        expires_hours=24,
        drift_bars=10,
        ranges={"XUSDT": {}},
    )
    return Served("abc", "m", "live", manifest)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (
            served(["rsi(14)"], schema="of another version"),
            "refused: m was trained with other formulas of its features",
        ),
        (served(["imbalance(5)"]), "refused: m uses imbalance(5), which come from recorded ticks"),
        (served(["rsi(14)"], interval="5"), "refused: m was trained on 5-minute bars"),
    ],
)
async def test_a_model_that_cannot_fit_is_never_asked_and_the_reason_is_on_record(model: Served, why: str) -> None:
    bars = random_bars(1, 400, interval_ms=HOUR_MS)
    predictions, client, warn = AsyncMock(), AsyncMock(), AsyncMock()
    predictions.models.return_value = [model]
    scorer = Scorer(["m"], predictions, client, warn)
    views = await scorer.attach({"XUSDT": Series.of(bars, {}).view(399)}, {"XUSDT": bars}, fresh=True)
    client.scores.assert_not_awaited()
    (row,) = predictions.record.await_args.args[0]
    assert (row.symbol, row.score, row.features, row.features_hash) == ("XUSDT", None, None, "")
    assert row.reason.startswith(why)
    score = views["XUSDT"].score("m")
    assert not score
    assert score.why == row.reason
    warn.assert_awaited_once()
