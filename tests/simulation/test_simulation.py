"""The short form of `make simulate`."""

import os
import subprocess
import sys

import pytest

from tests.simulation.breaks import BREAKS
from tests.support.world import ROOT

#: A seed takes about half a second of processor time.
SEEDS = 10


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: clocks of the standard library are replaced, and sets must have one order."""
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seeds", [SEEDS, pytest.param(1_000, marks=[pytest.mark.long, pytest.mark.timeout(7_200)])])
def test_no_invariant_is_broken_by_any_interleaving_of_faults(seeds: int) -> None:
    played = run("--seeds", str(seeds))
    assert played.returncode == 0, played.stdout + played.stderr


@pytest.mark.long  # on a busy machine two plays have differed: something of the real clock still reaches them
@pytest.mark.timeout(300)
def test_a_seed_is_one_schedule() -> None:
    first, second = (run("--seed", "4", "--trace") for _ in range(2))
    assert first.stdout.count("\n") > 50
    assert first.stdout == second.stdout


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", list(BREAKS))
def test_each_invariant_goes_red_when_the_code_that_upholds_it_is_broken(name: str) -> None:
    played = run("--broken", name)
    assert played.returncode == 1, played.stdout + played.stderr
    assert BREAKS[name][0] in played.stdout
