"""One exchange for all client tests: a generated market running at 30 times the speed of the wall clock."""

from collections.abc import Iterator

import pytest

from exchange_simulator.tests.clients.process import KEY, SECRET, Simulator, running


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    with running(
        "--account",
        f"{KEY}:{SECRET}:100000:transfer",
        "--account",
        f"sub:s:1:sub={KEY}",
        "--seed",
        "7",
        "--speed",
        "30",
        "--spread-ticks",
        "1",
    ) as found:
        yield found
