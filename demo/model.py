"""The demo with a model: a made market, a training of seconds, shadow days in the market's own time, promotion by a key.

On `planted` a weak, real effect is in the market and the model passes; on `ordinary` there is none, the model is null, and it
stays a shadow.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from alpha.config.services import DatabaseSettings
from alpha.errors import AlphaError, Misconfigured
from alpha.postgres.database import connect
from alpha.postgres.sql import queries
from alpha.registry import Registry, load_registry
from alpha.scoring.manifest import SHORT, Manifest, find_artefact, record_of
from operations.context import Operations
from operations.models import model_detail

SQL = queries(__file__)

NAME = "trend"
BOT = "trend_001"
SYMBOLS = ("SOLUSDT", "LTCUSDT")
PLANTED, ORDINARY = "planted", "ordinary"
#: Bars that train; the demo begins where they end.
TRAINED_BARS = 8_000
#: 139 days of bars after them.
TRADED_BARS = 40_000
SHADOW_DAYS = 2
EFFECT = 1.5
#: Of the exchange in this demo: as in the model's labels, so that a weak effect can pay.
TAKER_FEE = "0.0001"
_PACKAGES = ("lightgbm", "onnxmltools", "onnxruntime")
_REGISTRY = """[[bot]]
id = "trend_001"
name = "Trend"
tag = "tr"
redis_db = 0
prefix = "TREND"
container = "trend"
folder = "demo/scored"
entry = "start_trading.py"
strategy = "demo.scored.strategy:Trend"
"""


@dataclass(frozen=True, slots=True)
class DemoModel:
    """What was prepared: the market, the folder of artefacts, the registry with the one bot, the trained model."""

    market: Path
    models: Path
    bots_file: Path
    version: str
    manifest: Manifest

    @property
    def registry(self) -> Registry:
        """The bot that uses the model, and no other."""
        return load_registry(self.bots_file)


def prepare(folder: Path, kind: str, say: Callable[[str], None]) -> DemoModel:
    """Make the market and train on its beginning, or find what an earlier run made in `folder`. Misconfigured without LightGBM."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise Misconfigured(
            f"The demo with a model needs {', '.join(missing)}: run make demo ARGS=--with-model, which installs them."
        )
    from backtester.candle_files import read_folder
    from backtester.candles import between
    from research.models.config import (
        CostsConfig,
        LabelConfig,
        SearchConfig,
        ServingConfig,
        TrainConfig,
        ValidationConfig,
    )
    from research.models.markets import START_MS, random_walk, write_folder
    from research.models.train import save, train

    market, models, bots_file = folder / "market", folder / "models", folder / "bots.toml"
    folder.mkdir(parents=True, exist_ok=True)
    bots_file.write_text(_REGISTRY, encoding="utf-8")
    if not (market / f"{SYMBOLS[-1]}.csv").exists():
        say(f"Making a market of {TRAINED_BARS + TRADED_BARS:,} bars, {kind} ...")
        effect = EFFECT if kind == PLANTED else 0.0
        bars = TRAINED_BARS + TRADED_BARS
        write_folder(market, (random_walk(11 + n, bars, symbol, effect=effect) for n, symbol in enumerate(SYMBOLS)))
    made = sorted(path for path in (models / NAME).glob("*/manifest.json") if not path.parent.name.startswith("."))
    if not made:
        config = TrainConfig(
            name=NAME,
            interval="5",
            features=["change(3)", "volume(20)", "rsi(14)", "zscore(20)", "volatility(20)", "body()"],
            label=LabelConfig(bars=12),
            costs=CostsConfig(fee=float(TAKER_FEE), slippage_bps=0.0),
            validation=ValidationConfig(folds=4, resamples=400, noise_refits=5),
            search=SearchConfig(num_leaves=[7], rounds=[40, 80], min_rows_in_leaf=[100]),
            serving=ServingConfig(expires_hours=24 * 365, shadow_days=SHADOW_DAYS, drift_bars=1_000),
        )
        known = read_folder(market)
        data = {
            symbol: between(bars, START_MS, START_MS + TRAINED_BARS * bars.interval_ms)
            for symbol, bars in known.items()
        }
        made = [save(train(config, data, models, say=say), models) / "manifest.json"]
    artefact = find_artefact(models, NAME, made[-1].parent.name)
    say(f"{artefact.manifest.verdict}: {artefact.manifest.why}")
    return DemoModel(market, models, bots_file, artefact.version, artefact.manifest)


async def put_on_record(owner: DatabaseSettings, made: DemoModel) -> None:
    """Register the model as a shadow."""
    connection = await connect(owner, "demo")
    try:
        await connection.fetchval(SQL["register"], made.version, record_of(made.manifest))
    finally:
        await connection.close()


async def summary(platform: Operations, made: DemoModel) -> list[str]:
    """What the model has done, and that the features it was sent are those that the candles give."""
    from research.models.skew import compare_features

    seen = await model_detail(platform, NAME, made.version)
    row = seen.row
    days = row.shadow.total_seconds() / 86_400
    if row.is_null:
        state = f"is null and stays a shadow. {row.why}"
    elif row.stage == "live":
        state = f"is live, by {row.stage_by}, after {days:.1f} days as a shadow."
    else:
        state = f"is a shadow for {days:.1f} of {row.shadow_days} days; the key m promotes it then."
    live = (
        ""
        if seen.live.auc is None
        else f" Live AUC {seen.live.auc:.3f}, training {float(seen.metrics['auc']['value']):.3f}."
    )
    lines = [f"The model {NAME} {row.version[:SHORT]} {state}{live}"]
    try:
        stored = await platform.history.rows(
            SQL["scored"],
            made.version,
        )
        lines.append(compare_features(made.manifest.features, made.manifest.interval, stored, made.market).text)
    except AlphaError as fault:
        lines.append(str(fault))
    return lines
