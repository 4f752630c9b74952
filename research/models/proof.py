"""What training says of markets whose truth is known."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from research.models.config import (
    CostsConfig,
    LabelConfig,
    SearchConfig,
    ServingConfig,
    TrainConfig,
    ValidationConfig,
)
from research.models.markets import random_walk
from research.models.train import Trained, train

SYMBOLS = ("SOLUSDT", "LTCUSDT")
BARS = 5_000


def small_config(name: str = "proof", **serving: int) -> TrainConfig:
    """A training of half a second."""
    return TrainConfig(
        name=name,
        interval="5",
        features=["change(3)", "volume(20)", "rsi(14)", "zscore(20)", "volatility(20)", "body()"],
        label=LabelConfig(bars=12),
        costs=CostsConfig(fee=0.0001, slippage_bps=0.5),
        validation=ValidationConfig(folds=4, resamples=400, noise_refits=2),
        search=SearchConfig(num_leaves=[7], rounds=[40], min_rows_in_leaf=[100]),
        serving=ServingConfig(**{"drift_bars": 500, **serving}),
    )


def train_on_made(
    seed: int, effect: float, models: Path, *, bars: int = BARS, config: TrainConfig | None = None
) -> Trained:
    """Train on two symbols of the made market with this seed."""
    data = {
        symbol: random_walk(1_000 * seed + place, bars, symbol, effect=effect) for place, symbol in enumerate(SYMBOLS)
    }
    return train(small_config() if config is None else config, data, models)


def prove(seeds: int, effect: float, say: Callable[[str], None]) -> int:
    """Train once per seed, each under a fresh name; returns how many passed. `say` gets a line per seed."""
    passed = 0
    for seed in range(1, seeds + 1):
        with tempfile.TemporaryDirectory() as folder:
            manifest = train_on_made(seed, effect, Path(folder)).manifest
        metrics = manifest.metrics
        passed += not manifest.is_null
        say(
            f"seed {seed}: {manifest.verdict}, AUC {metrics.auc.value:.3f}, p {metrics.p_value:.4f}, "
            f"net {metrics.net.value * 100:+.2f} % [{metrics.net.low * 100:+.2f}, {metrics.net.high * 100:+.2f}]"
        )
    return passed
