"""One training, from a configuration and candles to an artefact: `alpha model train`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alpha.errors import Misconfigured
from alpha.scoring.drift import bins_of, deciles, expected_shares, rolling_psi
from alpha.scoring.features import FeatureSet
from alpha.scoring.flow import Flow
from alpha.scoring.manifest import (
    FeatureRange,
    Fold,
    Interval,
    Manifest,
    Metrics,
    Reference,
    digest,
    write_artefact,
)
from alpha.scoring.refusals import needs_ticks
from alpha.strategy.bars import Bars
from backtester.candles import fingerprint
from research.models.attempts import Attempt, code_hash, record_attempt
from research.models.booster import fit, gains
from research.models.config import TrainConfig, check_config
from research.models.dataset import Panel, build_panel, check_interval, replay_live
from research.models.export import compare, onnx_scores, to_onnx
from research.models.order_flow import QUOTES, TRADES, Ticks, flow_hash, order_flow
from research.models.significance import (
    Blocks,
    Scored,
    auc,
    calibration,
    interval_of_auc,
    interval_of_mean,
    interval_of_sum,
    permutation_p,
    permutations_needed,
)
from research.models.simulate import Traded, buy_and_hold, trade
from research.models.validation import FoldScores, WalkForward

Floats = NDArray[np.float64]
LIMIT = 0.001
REFERENCE_ROWS = 200
REPLAYED_BARS = 12
PACKAGES = ("lightgbm", "numpy", "onnx", "onnxmltools", "onnxruntime")
ROOT = Path(__file__).resolve().parents[2]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished training: its manifest and model, and what its report shows besides."""

    manifest: Manifest
    model: bytes
    panel: Panel
    scored: Scored
    per_bar: Floats
    hold_by_bar: Floats
    traded: Traded
    importance: Floats
    noise: Floats


def _silent(_: str) -> None:
    """Say nothing."""


def train(
    config: TrainConfig,
    data: Mapping[str, Bars],
    models: Path,
    *,
    slippage_bps: float | None = None,
    ticks: Ticks | None = None,
    say: Say = _silent,
) -> Trained:
    """Train, validate and judge a model. The attempt is recorded below `models` before anything is fitted.

    `slippage_bps` replaces the configured one, as when it was measured; `ticks` are what was recorded, for features from ticks.
    Misconfigured says what does not fit.
    """
    check_config(config, config.name)
    configured = config.costs.slippage_bps
    if slippage_bps is None:
        if isinstance(configured, str):
            raise Misconfigured('costs.slippage_bps is "measured", and no measurement was given.')
        slippage_bps = float(configured)
    label = config.label_of(slippage_bps)
    features = FeatureSet(config.features, config.interval)
    check_interval(data, features)
    hashes = {symbol: fingerprint([bars]) for symbol, bars in sorted(data.items())}
    flow = _order_flow(features, data, ticks, say)
    if flow is not None:
        hashes |= {f"{symbol} ticks": flow_hash(each) for symbol, each in flow.items()}
    code = code_hash(ROOT)
    attempts = record_attempt(
        models, config.name, Attempt(config.sha256, f"{sorted(hashes.items())} {slippage_bps!r}", code)
    )
    seed = int(config.sha256[:8], 16)
    say(f"Attempt {attempts} under the name {config.name}. Computing {len(features.names)} features ...")
    replay_live(data, features, bars=REPLAYED_BARS, seed=seed, flow=flow)
    panel = build_panel(data, features, label, flow)
    drift_bars = config.serving.drift_bars
    ranges = {symbol: _ranges(panel, place, features, drift_bars) for place, symbol in enumerate(panel.symbols)}
    walk = WalkForward(panel, config, features.longest_window, seed)
    say(f"{len(panel):,} rows. Walk-forward over {config.validation.folds} folds, embargo {walk.embargo} bars ...")
    folds = walk.run()
    rows = np.concatenate([fold.rows for fold in folds])
    scored = Scored(
        panel.bar[rows],
        np.concatenate([np.full(len(fold.rows), number) for number, fold in enumerate(folds)]),
        np.concatenate([fold.score for fold in folds]),
        panel.net[rows] > 0,
    )
    losses = walk.losses(scored.score, panel.net[rows])
    trades = [trade(panel, fold.rows, fold.score, fold.choice.threshold) for fold in folds]
    traded = Traded(np.concatenate([one.rows for one in trades]), np.concatenate([one.net for one in trades]))
    length = config.validation.block_bars or _block_length(config, features, scored)
    blocks = Blocks(scored.bar, length)
    say(f"Block bootstrap and labels permuted in blocks of {length} bars ...")
    draws = blocks.draws(config.validation.resamples, seed)
    bars = np.unique(scored.bar)
    per_bar = np.bincount(
        np.searchsorted(bars, panel.bar[traded.rows]), weights=traded.net, minlength=len(bars)
    ).astype(np.float64)
    permutations = permutations_needed(attempts)
    metrics = Metrics(
        rows=len(rows),
        auc=Interval(*interval_of_auc(scored, blocks, draws)),
        log_loss=Interval(*interval_of_mean(losses, blocks, draws)),
        net=Interval(*interval_of_sum(per_bar, draws)),
        hold=buy_and_hold(panel, int(bars[0]), int(bars[-1])),
        trades=len(traded.rows),
        base_rate=float(scored.positive.mean()),
        p_value=permutation_p(scored, blocks, permutations, seed + 1),
        permutations=permutations,
        attempts=attempts,
        calibration=calibration(scored),
        folds=[_fold(walk, panel, fold, one) for fold, one in zip(folds, trades, strict=True)],
    )
    verdict, why = judge(metrics)
    if features.tick_features:
        # whatever it is worth, nothing could feed it
        verdict, why = (
            "null",
            f"It cannot be promoted: {needs_ticks(config.name, features.tick_features)}. Else: {verdict}; {why}",
        )
    say(f"{verdict}: {why} Training on everything ...")
    every = np.arange(len(panel))
    choice = walk.choose(every)
    booster = walk.fit(every, choice.parameters)
    model = to_onnx(booster, config.name, len(features.names))
    worst = compare(booster, model, panel.rows)
    say(f"ONNX and LightGBM agree in {len(panel):,} rows, {worst:.1e} apart at most.")
    at_rows = np.unique(np.linspace(0, len(panel) - 1, REFERENCE_ROWS).astype(np.int64))
    reference = panel.rows[at_rows]
    manifest = Manifest(
        name=config.name,
        interval=config.interval,
        features=list(features.names),
        schema=features.schema,
        label=label,
        symbols=list(panel.symbols),
        onnx_sha256=digest(model),
        threshold=choice.threshold,
        verdict=verdict,
        why=why,
        trained_from_ms=panel.time_ms(int(panel.bar[0])),
        trained_to_ms=panel.time_ms(len(panel.closes)),
        expires_hours=config.serving.expires_hours,
        shadow_days=config.serving.shadow_days,
        drift_bars=drift_bars,
        data=hashes,
        config_sha256=config.sha256,
        code=code,
        packages={name: version(name) for name in PACKAGES},
        parameters=choice.parameters,
        ranges=ranges,
        reference=Reference(
            [[float(value) for value in row] for row in reference],
            [float(value) for value in onnx_scores(model, reference)],
        ),
        metrics=metrics,
    )
    importance = gains(booster)
    noise = _noise(walk, panel, choice.parameters, config, length, seed)
    hold_by_bar = _hold(panel, bars)
    return Trained(manifest, model, panel, scored, per_bar, hold_by_bar, traded, importance, noise)


def save(trained: Trained, models: Path) -> Path:
    """Write the artefact with its report; returns its folder."""
    from research.models.report import report_html

    folder = write_artefact(models, trained.manifest, trained.model)
    (folder / "report.html").write_text(report_html(trained), encoding="utf-8")
    return folder


def _order_flow(
    features: FeatureSet, data: Mapping[str, Bars], ticks: Ticks | None, say: Say
) -> dict[str, Flow] | None:
    """The order flow of each symbol, where a feature needs it."""
    if not features.tick_features:
        return None
    if ticks is None:
        raise Misconfigured(
            f"{', '.join(features.tick_features)} come from recorded ticks: name their folder with --ticks."
        )
    quotes = tuple(name for name in features.tick_features if name.startswith("spread("))
    kinds = (*((TRADES,) if len(quotes) < len(features.tick_features) else ()), *((QUOTES,) if quotes else ()))
    found = {}
    for symbol, bars in sorted(data.items()):
        found[symbol] = flow = order_flow(ticks, bars, kinds)
        whole = np.ones(len(bars.start_ms), dtype=bool)
        if TRADES in kinds:
            whole &= ~np.isnan(flow.trades)
        if QUOTES in kinds:
            whole &= ~np.isnan(flow.spread)
        say(
            f"{symbol}: ticks were recorded whole in {int(whole.sum()):,} of {len(whole):,} bars; the others are left out."
        )
    return found


def judge(metrics: Metrics) -> tuple[str, str]:
    """`pass` or `null`, and why."""
    limit = LIMIT / metrics.attempts
    faults = []
    if not metrics.p_value < limit:
        tried = "the first attempt" if metrics.attempts == 1 else f"attempt {metrics.attempts}"
        faults.append(f"its p-value is {metrics.p_value:.4g} and must be below {limit:.3g} on {tried}")
    if not metrics.net.low > 0:
        faults.append(
            f"the lower bound of its net profit is {metrics.net.low * 100:.2f} % and must be above zero "
            f"({metrics.trades} trades)"
        )
    if faults:
        return "null", f"It cannot be told from chance: {' and '.join(faults)}."
    return "pass", (
        f"p-value {metrics.p_value:.4g}, net {metrics.net.value * 100:.2f} % out of sample, at least "
        f"{metrics.net.low * 100:.2f} % with 95 % confidence."
    )


def _block_length(config: TrainConfig, features: FeatureSet, scored: Scored) -> int:
    """Four trades long, or as long as the longest window where there are 40 such blocks; at least 20 blocks in all."""
    bars = len(np.unique(scored.bar))
    length = max(4 * (config.label.bars + 1), min(features.longest_window, bars // 40))
    return max(config.label.bars + 1, min(length, bars // 20))


def _fold(walk: WalkForward, panel: Panel, fold: FoldScores, traded: Traded) -> Fold:
    net = panel.net[fold.rows]
    return Fold(
        train_to_ms=panel.time_ms(fold.train_to),
        from_ms=panel.time_ms(int(panel.bar[fold.rows[0]])),
        to_ms=panel.time_ms(int(panel.bar[fold.rows[-1]]) + 1),
        rows=len(fold.rows),
        auc=auc(fold.score, net > 0),
        log_loss=walk.loss(fold.score, net),
        trades=len(traded.rows),
        net=traded.total,
        chosen=fold.choice.parameters,
        threshold=fold.choice.threshold,
    )


def _ranges(panel: Panel, place: int, features: FeatureSet, drift_bars: int) -> dict[str, FeatureRange]:
    rows = panel.rows[panel.symbol == place]
    symbol = panel.symbols[place]
    if len(rows) < 2 * drift_bars:
        raise Misconfigured(
            f"{symbol} has {len(rows)} rows to train on; drift over {drift_bars} bars needs {2 * drift_bars}. "
            "Lower serving.drift_bars, or give a longer history."
        )
    found = {}
    for column, name in enumerate(features.names):
        values = rows[:, column]
        edges = deciles(values)
        shares = expected_shares(values, edges)
        index = rolling_psi(bins_of(values, edges), shares, drift_bars)
        found[name] = FeatureRange(edges, shares, float(np.nanquantile(index, 0.95)))
    return found


def _noise(
    walk: WalkForward, panel: Panel, parameters: dict[str, float], config: TrainConfig, length: int, seed: int
) -> Floats:
    """The gains of models trained on labels permuted in blocks (refits x features): what importance chance has."""
    draw = np.random.default_rng(seed + 2)
    blocks = np.array_split(np.arange(len(panel)), max(2, len(panel) // (length * len(panel.symbols))))
    regression = config.label.kind == "size"
    found = []
    for _ in range(config.validation.noise_refits):
        order = np.concatenate([blocks[number] for number in draw.permutation(len(blocks))])
        net = panel.net[order]
        target = net if regression else (net > 0).astype(np.float64)
        found.append(gains(fit(panel.rows, target, parameters, regression=regression, seed=seed)))
    return np.asarray(found).reshape(len(found), panel.rows.shape[1])


def _hold(panel: Panel, bars: NDArray[np.int64]) -> Floats:
    """Return of holding every symbol since the first out-of-sample bar, at each of them."""
    part = panel.closes[bars]
    first = np.array([column[~np.isnan(column)][0] if (~np.isnan(column)).any() else np.nan for column in part.T])
    with np.errstate(invalid="ignore"):
        found: Floats = np.nan_to_num(np.nanmean(np.where(np.isnan(part / first), 1.0, part / first), axis=1)) - 1.0
    return found
