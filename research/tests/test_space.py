"""Spaces: what they accept, and that a trial is a function of seed and number."""

import math
from itertools import pairwise
from pathlib import Path

import pytest
from scipy import stats

from alpha.errors import Misconfigured
from research.folds import DAY_MS, WalkForward, days_of
from research.space import read_space, space_of, uniform
from strategies.momentum.parameters import MomentumParameters

TABLE = {
    "stop": {"low": 0.05, "high": 0.2, "step": 0.01},
    "bands_period": {"low": 10, "high": 12},
    "risk": {"low": 0.01, "high": 0.1, "log": True},
    "btc_filter": [True, False],
}


def test_trials_depend_on_seed_and_number_alone() -> None:
    space = space_of(TABLE, MomentumParameters)
    assert space.random(1, 5) == space_of(space.as_json(), MomentumParameters).random(1, 5)
    assert space.random(1, 5) != space.random(2, 5)
    assert space.quasi(1, 5) == space_of(TABLE, MomentumParameters).quasi(1, 5)
    for number in range(200):
        drawn = space.random(3, number)
        MomentumParameters.model_validate(drawn)
        assert 0.05 <= float(drawn["stop"]) <= 0.2
        assert 0.01 <= float(drawn["risk"]) <= 0.1


def test_draws_are_uniform() -> None:
    drawn = [uniform(7, number, "stop") for number in range(5_000)]
    assert stats.kstest(drawn, "uniform").pvalue > 0.01


def test_the_grid_has_every_combination_once() -> None:
    space = space_of({"bands_period": {"low": 10, "high": 12}, "btc_filter": [True, False]}, MomentumParameters)
    assert space.size == 6
    assert len({tuple(space.grid(number).items()) for number in range(6)}) == 6
    with pytest.raises(Misconfigured, match="step"):
        assert space_of({"stop": {"low": 0.1, "high": 0.2}}, MomentumParameters).size


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "names no parameter"),
        ({"nonsense": [1]}, "no parameter 'nonsense'"),
        ({"stop": []}, "no value"),
        ({"stop": 3}, "must be a list"),
        ({"stop": {"low": 2, "high": 1}}, "low must be below high"),
        ({"stop": {"low": 0.1, "high": 1, "steps": 1}}, "steps"),
        ({"stop": {"low": 0, "high": 1, "log": True}}, "logarithmic"),
        ({"stop": {"low": "x", "high": 1}}, "numbers"),
        ({"stop": {"low": math.nan, "high": 0.2, "step": 0.01}}, "stop: low must be a number, got NaN"),
        ({"stop": {"low": 0.1, "high": math.inf}}, "stop: high must be a number, got Infinity"),
        ({"stop": [0.1, math.nan]}, "stop: nan is no number"),
        ({"risk": {"low": 0, "high": 0.1, "log": True}}, "risk: a logarithmic range starts above zero.*low is 0"),
        ({"bands_period": {"low": 1, "high": 10**23 - 1}}, "bands_period: high must be .* got 9{23}"),
        (
            {"bands_period": {"low": 1, "high": 10**9}},
            "bands_period: from 1 to 1000000000 .* more than 1,000,000 values",
        ),
        ({"stop": {"low": 0.1, "high": 1, "step": "1e-999999"}}, "stop: step must be"),
    ],
)
def test_a_space_that_is_none_is_said_in_a_sentence(table: object, said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        space_of(table, MomentumParameters)


def test_a_grid_of_a_million_millions_is_counted_at_once_and_its_last_trial_is_there() -> None:
    whole = {"low": 1, "high": 1_000_000}
    space = space_of({"bands_period": whole, "volume_period": whole}, MomentumParameters)
    assert space.size == 10**12
    assert space.grid(10**12 - 1) == {"bands_period": "1000000", "volume_period": "1000000"}


def test_a_file_that_is_no_toml(tmp_path: Path) -> None:
    (tmp_path / "space.toml").write_text("[parameters\n")
    with pytest.raises(Misconfigured, match=r"space\.toml"):
        read_space(tmp_path / "space.toml", MomentumParameters)


def test_folds_do_not_overlap_and_leave_the_embargo_out() -> None:
    folds = WalkForward(60, 30, 2).folds(3 * DAY_MS + 5, 203 * DAY_MS)
    assert len(folds) == 5
    for before, after in pairwise(folds):
        assert after.test_from_ms == before.test_to_ms
    for fold in folds:
        assert fold.test_from_ms - fold.train_to_ms == 2 * DAY_MS
        assert fold.train_to_ms - fold.train_from_ms == 60 * DAY_MS
    anchored = WalkForward(60, 30, 2, anchored=True).folds(3 * DAY_MS + 5, 203 * DAY_MS)
    assert {fold.train_from_ms for fold in anchored} == {4 * DAY_MS}
    with pytest.raises(Misconfigured, match="too few"):
        WalkForward(600, 30).folds(0, 100 * DAY_MS)


def test_days_are_read_as_people_write_them() -> None:
    assert (days_of("180d", "--train"), days_of("26w", "--train"), days_of("0d", "--embargo")) == (180, 182, 0)
    for text in ("", "x", "-3d", "0d"):
        with pytest.raises(Misconfigured):
            days_of(text, "--train")
