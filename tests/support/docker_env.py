"""Single services in containers, started by testcontainers in their own network on ports chosen by the engine.

The library's reaper needs an image from a registry, so it is disabled: leftovers of a killed run are identified by
their label and removed by the next run.
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

# The library is imported where it is used, so that merely collecting these tests does not pay for it.
if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

ROOT = Path(__file__).resolve().parents[2]
#: Label on everything these tests create: the PID of the test process.
LABEL = "alpha.tests.process"
#: Time for a service to become healthy, in seconds.
LIMIT_S = 90
_SECOND_NS = 1_000_000_000


def docker(*arguments: str, check: bool = True) -> str:
    """Run the docker client; returns its output. Raises with the client's message when it fails."""
    result = subprocess.run(["docker", *arguments], check=False, capture_output=True, text=True)
    if check and result.returncode != 0:
        raise AssertionError(f"docker {' '.join(arguments)}: {result.stderr or result.stdout}")
    return result.stdout.strip()


def each_second(*command: str) -> dict[str, Any]:
    """A health check every second, with unlimited retries; without a command, the image's own check."""
    return {"interval": _SECOND_NS, "retries": LIMIT_S, **({"test": ["CMD", *command]} if command else {})}


def sweep() -> list[str]:
    """Remove containers and networks of runs that have ended; returns their names."""
    from testcontainers.core.docker_client import DockerClient

    client = DockerClient().client
    gone = []
    filters = {"label": LABEL}
    for container in client.containers.list(all=True, filters=filters):
        if not psutil.pid_exists(int(container.labels[LABEL])):
            gone.append(str(container.name))
            container.remove(force=True, v=True)
    for network in client.networks.list(filters=filters):
        if not psutil.pid_exists(int(network.attrs["Labels"][LABEL])):
            gone.append(str(network.name))
            network.remove()
    client.close()
    return gone


class DockerEnv:
    """A network and its containers. `with DockerEnv() as env`: everything is removed at the end."""

    def __init__(self) -> None:
        from testcontainers.core.config import testcontainers_config
        from testcontainers.core.network import Network

        testcontainers_config.ryuk_disabled = True
        self._mark = {LABEL: str(os.getpid())}
        self._network = Network(docker_network_kw={"labels": self._mark})
        self._containers: list[DockerContainer] = []

    def __enter__(self) -> "DockerEnv":
        sweep()
        self._network.create()
        return self

    def __exit__(self, *_: object) -> None:
        for container in reversed(self._containers):
            container.stop()
        self._network.remove()

    @property
    def network(self) -> str:
        """The network's name."""
        return self._network.name

    def run(
        self,
        image: str,
        alias: str,
        environment: Mapping[str, str],
        *,
        healthcheck: dict[str, Any] | None = None,
        port: int | None = None,
        tmpfs: Mapping[str, str] | None = None,
        **options: Any,
    ) -> "DockerContainer":
        """Start a container known as `alias` in this network and wait until it is healthy, if it has a health check.
        `port` is published only on 127.0.0.1.

        `tmpfs` maps folders to mount options; `options` are those of testcontainers and Docker, such as `volumes`.
        """
        from testcontainers.core.container import DockerContainer
        from testcontainers.core.wait_strategies import HealthcheckWaitStrategy

        options = {"labels": self._mark, "healthcheck": healthcheck, **options}
        container = DockerContainer(image, env=dict(environment), **options)
        container.tmpfs = dict(tmpfs or {})
        container.with_network(self._network).with_network_aliases(alias)
        if port is not None:
            # the library's types lack the address; without one the port would be published on all interfaces
            container.ports[f"{port}/tcp"] = ("127.0.0.1",)  # type: ignore[assignment]
        if healthcheck is not None:
            container.waiting_for(HealthcheckWaitStrategy().with_startup_timeout(LIMIT_S).with_poll_interval(0.2))
        self._containers.append(container)
        container.start()
        return container


def port_of(container: "DockerContainer", inside: int) -> int:
    """The port on 127.0.0.1 that a container port is published on."""
    return int(container.get_exposed_port(inside))
