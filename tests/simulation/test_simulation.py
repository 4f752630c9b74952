"""The short form of `make simulate`."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.simulation.breaks import BREAKS
from tests.support.world import ROOT

#: A seed takes about a tenth of a second of processor time.
SEEDS = 200


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


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seeds", [SEEDS, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(14_400)])])
def test_no_invariant_is_broken_by_any_interleaving_of_faults(seeds: int) -> None:
    played = run("--seeds", str(seeds), "--processes", "2")
    assert played.returncode == 0, played.stdout + played.stderr


@pytest.mark.timeout(300)
def test_a_seed_is_one_schedule_alone_and_among_others_and_on_a_busy_machine() -> None:
    """The line of a seed says what every step of it came to; the two plays compete for the processor."""
    with ThreadPoolExecutor(2) as threads:
        among, alone = threads.map(
            lambda arguments: run(*arguments), (("--first", "2", "--seeds", "6", "--each"), ("--seed", "7"))
        )
    assert among.returncode == alone.returncode == 0, among.stdout + alone.stdout
    line = next(line for line in among.stdout.splitlines() if line.startswith("seed 7:"))
    assert alone.stdout.splitlines()[0] == line


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", list(BREAKS))
def test_each_invariant_goes_red_when_the_code_that_upholds_it_is_broken(name: str) -> None:
    played = run("--broken", name)
    assert played.returncode == 1, played.stdout + played.stderr
    assert BREAKS[name][0] in played.stdout
