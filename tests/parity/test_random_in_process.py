"""The short form of `python -m tests.parity`: random strategies on a virtual clock, and killed ones."""

import os
import subprocess
import sys

import pytest

from tests.support.world import ROOT


def compared(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """`python -m tests.parity`: in a process of its own, because it replaces the clocks of the standard library."""
    return subprocess.run(
        [sys.executable, "-m", "tests.parity", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seeds", [20, pytest.param(500, marks=[pytest.mark.long, pytest.mark.timeout(7_200)])])
def test_random_strategies_want_everything_and_trade_the_same_live_and_in_the_back_test(seeds: int) -> None:
    """It fails as well when a kind of order, fill or refusal has not occurred among these seeds."""
    played = compared("--seeds", str(seeds))
    assert played.returncode == 0, played.stdout + played.stderr


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seeds", [4, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(7_200)])])
def test_a_bot_that_is_killed_at_random_moments_trades_as_if_it_had_not_been(seeds: int) -> None:
    played = compared("--first", "1000", "--seeds", str(seeds), "--bars", "24", "--kills", "4")
    assert played.returncode == 0, played.stdout + played.stderr
