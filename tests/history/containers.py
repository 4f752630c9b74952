"""Containers of one test module: a network of its own, names and ports picked by the engine, removed at the end."""

import json
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

ROOT = Path(__file__).resolve().parents[2]


def docker(*arguments: str, check: bool = True) -> str:
    """Run the docker client; returns what it printed. Raises with its own words when it fails."""
    result = subprocess.run(["docker", *arguments], check=False, capture_output=True, text=True)
    if check and result.returncode != 0:
        raise AssertionError(f"docker {' '.join(arguments)}: {result.stderr or result.stdout}")
    return result.stdout.strip()


def engine_answers() -> bool:
    """True when a Docker engine answers."""
    try:
        return subprocess.run(["docker", "info"], check=False, capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


class Network:
    """A network and the containers in it."""

    def __init__(self) -> None:
        self.name = f"alpha-test-{uuid4().hex[:12]}"
        self._containers: list[str] = []
        docker("network", "create", self.name)

    def run(
        self, image: str, alias: str, environment: Mapping[str, str], *options: str, command: tuple[str, ...] = ()
    ) -> str:
        """Start a container known as `alias` in this network; returns its id."""
        variables = [f"--env={name}={value}" for name, value in environment.items()]
        container = docker(
            "run",
            "--detach",
            f"--network={self.name}",
            f"--network-alias={alias}",
            *variables,
            *options,
            image,
            *command,
        )
        self._containers.append(container)
        return container

    def close(self) -> None:
        """Remove all of it."""
        for container in self._containers:
            docker("rm", "--force", "--volumes", container, check=False)
        docker("network", "rm", self.name, check=False)


def port_of(container: str, inside: int) -> int:
    """The port on 127.0.0.1 at which a published port of the container answers."""
    return int(docker("port", container, f"{inside}/tcp").splitlines()[0].rsplit(":", 1)[1])


def inspect(container: str) -> Mapping[str, object]:
    """The state of a container."""
    state: Mapping[str, object] = json.loads(docker("inspect", "--format", "{{json .State}}", container))
    return state


def wait_until_healthy(container: str, limit_s: float = 90) -> None:
    """Wait until its health check passes; raises with its log when it does not in time."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        status = docker("inspect", "--format", "{{.State.Health.Status}}", container)
        if status == "healthy":
            return
        time.sleep(0.2)
    raise AssertionError(f"not healthy: {docker('logs', container, check=False)}")
