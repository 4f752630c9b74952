"""Containers for the tests of the proxy: bots that sleep, a stranger beside them, and the proxy in front of the engine."""

import json
import subprocess
import time
import urllib.request
import uuid
from pathlib import Path

from alpha.registry import Bot, Registry
from alpha_cli.rendering.production import haproxy_config
from tests.support.docker_env import DockerEnv, docker, port_of

BOT_IMAGE = "debian:trixie-slim"
PROXY_IMAGE = "haproxy:3.0"


def reason_to_skip() -> str | None:
    """Why these tests cannot run here, or None."""
    try:
        docker("info", "--format", "{{.ServerVersion}}")
        for image in (BOT_IMAGE, PROXY_IMAGE):
            docker("image", "inspect", "--format", "{{.Id}}", image)
    except (OSError, AssertionError, subprocess.TimeoutExpired) as fault:
        return f"no Docker engine with the images {BOT_IMAGE} and {PROXY_IMAGE}: {fault}"
    return None


class ProxiedEngine:
    """Two bots, one container that is no bot and whose name begins like a bot's, and the proxy on a port of 127.0.0.1."""

    def __init__(self, room: DockerEnv, folder: Path) -> None:
        mark = f"alpha-test-{uuid.uuid4().hex[:8]}"
        self.bots = [f"{mark}-one", f"{mark}-two"]
        self.stranger = f"{mark}-one-more"
        self._folder = folder
        self._room = room
        self.port = 0

    @property
    def registry(self) -> Registry:
        """A registry of these bots."""
        return Registry(
            tuple(
                Bot(f"bot_{n}", f"Bot{n}", "ab"[n], n, f"BOT{n}", container, "x", "main.py", "x:X")
                for n, container in enumerate(self.bots)
            )
        )

    def start(self) -> None:
        """Start everything; returns once the proxy says that it reaches the engine."""
        script = "echo hello from the bot; trap 'exit 0' TERM; while :; do sleep 0.2; done"
        for name in (*self.bots, self.stranger):
            self._room.run(BOT_IMAGE, name, {"SECRET": "planted-value"}, name=name, command=["sh", "-c", script])
        config = haproxy_config(self.registry)
        self._folder.chmod(0o755)
        (self._folder / "haproxy.cfg").write_text(config, encoding="utf-8")
        proxy = self._room.run(
            PROXY_IMAGE,
            "docker_proxy",
            {},
            port=2375,
            # HAProxy's image starts it as the user haproxy, who may not open the engine's socket.
            user="0:0",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            volumes=[
                ("/var/run/docker.sock", "/var/run/docker.sock", "rw"),
                (str(self._folder / "haproxy.cfg"), "/usr/local/etc/haproxy/haproxy.cfg", "ro"),
            ],
        )
        self.port = port_of(proxy, 2375)
        deadline = time.monotonic() + 30
        while not self._well():
            if time.monotonic() > deadline:
                raise AssertionError(docker("logs", proxy.get_container_id()))
            time.sleep(0.05)

    def state(self, name: str) -> tuple[str, str]:
        """Status and start time of a container, asked of the engine itself."""
        seen = json.loads(docker("inspect", name))[0]["State"]
        return seen["Status"], seen["StartedAt"]

    def container_id(self, name: str) -> str:
        """The engine's id of a container."""
        return docker("inspect", "--format", "{{.Id}}", name)

    def _well(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/proxy-healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
