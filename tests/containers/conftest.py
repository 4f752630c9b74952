"""The demo stack in containers, built and started once for the tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.containers.compose import ROOT, Compose, engine_answers


@pytest.fixture(scope="session")
def demo_stack() -> Iterator[Compose]:
    """The whole stack on the simulated exchange, healthy."""
    if not engine_answers():
        pytest.skip("no Docker engine answers")
    compose = Compose(ROOT, ("docker-compose.production.yml", "docker-compose.demo.yml"))
    compose("down", "-v", "--remove-orphans")
    try:
        compose("build", timeout_s=1200)
        compose("up", "-d")
        compose.wait_healthy()
        yield compose
    finally:
        print(compose("logs", "--tail", "20", "--no-color"))
        compose("down", "-v", "--remove-orphans")
