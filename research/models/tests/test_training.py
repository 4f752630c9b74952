"""Training tells chance from an effect, finds a leak, and gives the same artefact for the same data."""

import dataclasses
import importlib.util
from pathlib import Path

import msgspec
import numpy as np
import pytest

from alpha.errors import Misconfigured
from alpha.scoring import features as feature_module
from alpha.scoring.features import FORMULAS_BY_NAME, FeatureSet, Formula
from alpha.scoring.labels import Label, outcomes
from alpha.scoring.local import Session
from alpha.scoring.manifest import read_artefact
from alpha.timeframes import Columns
from research.models.attempts import Attempt, record_attempt
from research.models.config import TrainConfig, ValidationConfig, check_config, read_config
from research.models.dataset import build_panel, columns_of, part
from research.models.markets import random_walk
from research.models.proof import BARS, small_config, train_on_made
from research.models.significance import Blocks, Scored, auc, permutation_p, permutations_needed
from research.models.train import save
from research.models.validation import WalkForward

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("lightgbm", "onnxmltools", "onnxruntime")),
    reason="the packages of the extra `train` are not installed: python locks/install.py locks/train.lock",
)


@pytest.mark.parametrize("seed", range(1, 6))
def test_no_model_of_a_random_walk_passes(seed: int, tmp_path: Path) -> None:
    manifest = train_on_made(seed, 0.0, tmp_path, bars=3_000).manifest
    assert manifest.is_null
    assert "cannot be told from chance" in manifest.why


def test_a_weak_real_effect_passes_and_its_artefact_is_the_same_twice(tmp_path: Path) -> None:
    first, second = (train_on_made(1, 1.5, tmp_path) for _ in range(2))
    assert first.manifest.verdict == "pass"
    assert 0.54 < first.manifest.metrics.auc.value < 0.7, "weak"
    assert first.manifest.metrics.attempts == 1, "the same training again is no other attempt"
    assert first.model == second.model
    folder = save(first, tmp_path)
    assert save(second, tmp_path) == folder
    artefact = read_artefact(folder)
    assert artefact.short == folder.name
    assert "buy and hold" in (folder / "report.html").read_text()
    # what importance chance has is below that of the planted feature
    planted = first.manifest.features.index("volume(20)")
    assert first.importance[planted] > np.quantile(first.noise[:, planted], 0.95)
    rows = first.panel.rows[:500]
    session = Session(artefact)
    whole = session.scores(rows)
    assert (
        np.concatenate([session.scores(rows[place : place + 1]) for place in range(500)]).tobytes() == whole.tobytes()
    )
    for name in ("model.onnx", "manifest.json"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
        with pytest.raises(Misconfigured, match=f"{name} was changed"):
            read_artefact(folder)
        (folder / name).write_bytes(content)


def test_a_model_that_passed_once_needs_a_smaller_p_value_the_more_often_it_was_tried(tmp_path: Path) -> None:
    assert [record_attempt(tmp_path, "m", Attempt(str(n), "", "")) for n in (1, 2, 2, 3)] == [1, 2, 2, 3]
    assert 1 / (1 + permutations_needed(300)) < 0.001 / 300
    (tmp_path / "m" / "attempts.jsonl").write_text("rubbish\n")
    with pytest.raises(Misconfigured, match="damaged"):
        record_attempt(tmp_path, "m", Attempt("4", "", ""))


def test_a_planted_leak_is_found_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tomorrow(candles: Columns, _: int, n: int) -> np.ndarray:
        result = np.full(len(candles.close), np.nan)
        result[:-n] = candles.close[n:] / candles.close[:-n] - 1.0
        return result

    leak = Formula(1, tomorrow, lambda ms, n: 1, lambda ms, n: n, "the future")
    monkeypatch.setitem(FORMULAS_BY_NAME, "tomorrow", leak)
    config = msgspec.structs.replace(small_config(), features=["rsi(14)", "tomorrow(12)"])
    with pytest.raises(Misconfigured, match=r"tomorrow\(12\) of LTCUSDT .* It holds the future"):
        train_on_made(1, 0.0, tmp_path, bars=2_000, config=config)
    short = dataclasses.replace(FORMULAS_BY_NAME["change"], history=lambda ms, n: 2)
    monkeypatch.setitem(feature_module.FORMULAS_BY_NAME, "change", short)
    config = msgspec.structs.replace(small_config(), features=["change(5)"])
    with pytest.raises(Misconfigured, match=r"change\(5\).*needs more than the 2 bars"):
        train_on_made(1, 0.0, tmp_path, bars=2_000, config=config)


def test_training_rows_end_a_horizon_and_the_longest_window_before_the_tested_ones() -> None:
    config = small_config()
    features = FeatureSet(config.features, config.interval)
    data = {"SOLUSDT": random_walk(1, BARS, "SOLUSDT")}
    panel = build_panel(data, features, config.label_of(0.5))
    walk = WalkForward(panel, config, features.longest_window, 1)
    assert walk.embargo == 12 + 1 + 20
    folds = walk.run()
    for fold in folds:
        first_tested = panel.bar[fold.rows[0]]
        trained = panel.bar < fold.train_to
        assert panel.ends[trained].max() < first_tested - features.longest_window + 1
    assert [fold.rows[0] for fold in folds[1:]] == [fold.rows[-1] + 1 for fold in folds[:-1]]


def test_labels_are_what_a_trade_from_the_next_open_earns_after_costs() -> None:
    opened = np.array([100.0, 100, 102, 104, 103, 101])
    candles = Columns(np.arange(6), opened, opened + 1, opened - 1, opened, opened)
    long = outcomes(candles, Label("sign", "long", 2, 0.001, 0.0005))
    assert long.net[0] == pytest.approx(104 / 100 - 1 - 0.003)
    assert long.exit_index[:3].tolist() == [3, 4, 5]
    assert np.isnan(long.net[3:]).all()
    short = outcomes(candles, Label("sign", "short", 2, 0.0, 0.0))
    assert short.net[2] == pytest.approx(1 - 101 / 104)
    target = outcomes(candles, Label("barrier", "long", 2, 0.0, 0.0, target=0.025, stop=0.2))
    assert target.net[0] == pytest.approx(0.025)
    assert target.exit_index[0] == 2
    both = outcomes(candles, Label("barrier", "long", 2, 0.0, 0.0, target=0.001, stop=0.001))
    assert both.net[0] == pytest.approx(-0.001), "the adverse level comes first inside one bar"


def test_auc_and_the_permutation_equal_a_count_by_hand() -> None:
    draw = np.random.default_rng(3)
    score, positive = np.round(draw.normal(size=60), 1), draw.random(60) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in score[positive] for b in score[~positive]]
    assert auc(score, positive) == pytest.approx(np.mean(pairs))
    # one block per row: an ordinary permutation test, whose p-value for a perfect score is the smallest there is
    rows = Scored(np.arange(60), np.zeros(60, dtype=np.int64), positive.astype(float), positive)
    assert permutation_p(rows, Blocks(rows.bar, 1), 999, 1) == pytest.approx(0.001)
    noise = Scored(np.arange(60), np.zeros(60, dtype=np.int64), score, positive)
    shuffled = [auc(score, draw.permutation(positive)) >= auc(score, positive) for _ in range(999)]
    assert permutation_p(noise, Blocks(noise.bar, 1), 999, 1) == pytest.approx(np.mean(shuffled), abs=0.05)


def test_size_and_barrier_labels_train_too(tmp_path: Path) -> None:
    for kind, more in (("size", {}), ("barrier", {"target": 0.004, "stop": 0.004})):
        config = small_config(kind)
        label = msgspec.structs.replace(config.label, kind=kind, **more)
        trained = train_on_made(1, 1.5, tmp_path, config=msgspec.structs.replace(config, label=label))
        assert trained.manifest.metrics.auc.value > 0.53


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('name = "A"\ninterval = "5"\nfeatures = ["rsi(14)"]', "name must be"),
        ('name = "ab"\ninterval = "7"\nfeatures = ["rsi(14)"]', "interval '7'"),
        ('name = "ab"\ninterval = "5"\nfeatures = ["rsi(x)"]', r"rsi\(x\)"),
        ('name = "ab"\ninterval = "5"\nfeatures = ["rsi(14)", "rsi( 14 )"]', "named twice"),
        ('name = "ab"\ninterval = "5"\nfeatures = ["rsi(14)@7"]', "no timeframe"),
        ('name = "ab"\ninterval = "5"\nfeatures = ["rsi(14)"]\nshuffle = true', "shuffle"),
        (
            'name = "ab"\ninterval = "5"\nfeatures = ["rsi(14)"]\n[label]\nbars = 0',
            "label.bars must be 1 to 1000, got 0",
        ),
        ('name = "ab"\ninterval = "5"\nfeatures = ["rsi(14)"]\n[label]\nkind = "barrier"', "label.target"),
        ("name = ", "not valid TOML"),
    ],
)
def test_a_wrong_configuration_is_one_sentence(text: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text(text)
    with pytest.raises(Misconfigured, match=fault):
        read_config(path)


def test_data_that_do_not_suffice_are_said_so(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="at least 500 are needed"):
        train_on_made(1, 0.0, tmp_path, bars=400)
    with pytest.raises(Misconfigured, match="drift over 2000 bars"):
        train_on_made(1, 0.0, tmp_path, bars=2_000, config=small_config(drift_bars=2_000))
    config = msgspec.structs.replace(small_config(), interval="60")
    with pytest.raises(Misconfigured, match="5 minutes long"):
        train_on_made(1, 0.0, tmp_path, bars=2_000, config=config)


def test_every_feature_is_the_same_from_its_own_history() -> None:
    names = [
        f"{name}({','.join(['7', '15', '5'][: f.numbers])})" for name, f in FORMULAS_BY_NAME.items() if not f.ticks
    ]
    features = FeatureSet([*names, "rsi(14)@60", "change(2)@240"], "5")
    columns = columns_of(random_walk(4, features.history + 700, "SOLUSDT"))
    whole = features.compute(columns)
    for place in (features.history, features.history + 333, features.history + 699):
        live = features.compute(part(columns, place + 1 - features.history, place + 1))
        assert not np.isnan(live[-1]).any()
        assert live[-1].tobytes() == whole[place].tobytes()


def test_the_configuration_names_itself() -> None:
    config = small_config()
    assert config.sha256 == small_config().sha256
    changed: TrainConfig = msgspec.structs.replace(config, validation=ValidationConfig(folds=1))
    with pytest.raises(Misconfigured, match="folds must be 2 to 50, got 1"):
        check_config(changed, "x")
