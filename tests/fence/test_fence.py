"""The short form of `python -m tests.fence`."""

import random
from pathlib import Path

import pytest

from tests.fence.world import play


@pytest.mark.timeout(400)
@pytest.mark.parametrize("rounds", [12, pytest.param(1_000, marks=[pytest.mark.long, pytest.mark.timeout(7_200)])])
async def test_no_order_of_a_frozen_holder_is_accepted_after_the_takeover(tmp_path: Path, rounds: int) -> None:
    tally = await play(tmp_path, rounds=rounds, pairs=4, draw=random.Random(17))
    assert tally.rounds >= rounds
    assert tally.orders > rounds
    assert tally.late == []
