"""The borders under strange inputs, in short form; `make fuzz` runs them at length."""

import random
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

ROUNDS = {"bots": 150, "env": 1500, "candles": 1000, "rest": 150, "frames": 4000}


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_but_a_sentence_comes_back(target: str, tmp_path: Path) -> None:
    seen = TARGETS[target](random.Random(20_250_101), ROUNDS[target], tmp_path)
    assert "accepted" in seen, "some inputs must get through, or nothing was tried"
    assert "refused" in seen
