"""Container stacks, each built and started once for the tests of this folder.

The demo stack runs first, then, in file order, the production stack; each is a separate compose project.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from demo.ports import free_port
from tests.containers.compose import MEASURED, ROOT, Compose, engine_answers, measured, wait_for
from tests.containers.exchange import SIM_ACCOUNTS, Exchange


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the measurements after the tests."""
    for words in MEASURED:
        terminalreporter.write_line(f"measured: {words}")


def _needs_an_engine() -> None:
    if not engine_answers():
        pytest.skip("no Docker engine answers")


@pytest.fixture(scope="session", autouse=True)
def no_image_of_an_earlier_checkout() -> None:
    """Remove images of our names: a plain `up` rebuilds nothing, so tests would run those of other sources."""
    if not engine_answers():
        return
    listed = subprocess.run(
        ["docker", "images", "--filter", "reference=alpha.invalid/*", "--filter", "reference=alpha.invalid/*/*",
         "--format", "{{.Repository}}:{{.Tag}}"],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    if names := [name for name in listed if "<none>" not in name]:
        subprocess.run(["docker", "rmi", "--force", *names], check=True, capture_output=True)


@pytest.fixture(scope="session")
def demo_stack() -> Iterator[Compose]:
    """The whole stack on the simulated exchange, healthy."""
    _needs_an_engine()
    compose = Compose(ROOT, ("docker-compose.production.yml", "docker-compose.demo.yml"))
    compose.remove()
    try:
        began = time.monotonic()
        compose("build", timeout_s=1200)
        measured(f"images built in {time.monotonic() - began:.0f} s")
        began = time.monotonic()
        compose("up", "-d")
        compose.wait_healthy()
        measured(f"demo stack, cold start to all healthy: {time.monotonic() - began:.0f} s")
        yield compose
    finally:
        print(compose("logs", "--tail", "20", "--no-color"))
        compose.remove()


@pytest.fixture(scope="session")
def exchange() -> Iterator[Exchange]:
    """A simulated exchange on the engine's bridge network, which the stack's containers reach; it
    outlives the stack.
    """
    _needs_an_engine()
    host = subprocess.run(
        ["docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    found = Exchange(host, free_port())
    process = subprocess.Popen(
        [sys.executable, "-m", "exchange_simulator", "--host", host, "--port", str(found.port), "--speed", "60"],
        cwd=ROOT,
        env={**os.environ, "SIM_ACCOUNTS": SIM_ACCOUNTS},
        stdout=subprocess.DEVNULL,
    )

    def answers() -> bool:
        try:
            return httpx.get(f"{found.url}/v5/market/time").status_code == 200
        except httpx.HTTPError:
            return False

    try:
        wait_for(answers, lambda: "the exchange", 60)
        yield found
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository that a host clones and pulls from: the commits of this checkout."""
    folder = tmp_path_factory.mktemp("upstream") / "Alpha"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    subprocess.run(["git", "checkout", "--quiet", "-B", "main"], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="session")
def host(upstream: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """A fresh host: a clone in which nothing was set up or started. Images may exist from another checkout."""
    _needs_an_engine()
    folder = tmp_path_factory.mktemp("host") / "Alpha"
    subprocess.run(["git", "clone", "--quiet", str(upstream), str(folder)], check=True)
    compose = Compose(folder, ("docker-compose.production.yml",))
    compose.remove()
    yield compose
    print(compose("logs", "--tail", "20", "--no-color"))
    compose.remove()
