"""Containers for the tests of the proxy: bots that sleep, a stranger beside them, and the proxy in front of the engine."""

import json
import subprocess
import time
import urllib.request
import uuid
from pathlib import Path

from alpha.registry import Bot, Registry
from alpha.render import haproxy_config

BOT_IMAGE = "debian:trixie-slim"
PROXY_IMAGE = "haproxy:3.0"


def docker(*arguments: str) -> str:
    """Run the docker command; its output, or RuntimeError with its words."""
    result = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=120)
    if result.returncode != 0:
        raise RuntimeError(f"docker {' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout.strip()


def reason_to_skip() -> str | None:
    """Why these tests cannot run here, or None."""
    try:
        docker("info", "--format", "{{.ServerVersion}}")
        for image in (BOT_IMAGE, PROXY_IMAGE):
            docker("image", "inspect", "--format", "{{.Id}}", image)
    except (OSError, RuntimeError, subprocess.TimeoutExpired) as fault:
        return f"no Docker engine with the images {BOT_IMAGE} and {PROXY_IMAGE}: {fault}"
    return None


class ProxiedEngine:
    """Two bots, one container that is no bot and whose name begins like a bot's, and the proxy on a port of 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self.mark = f"alpha-test-{uuid.uuid4().hex[:8]}"
        self.bots = [f"{self.mark}-one", f"{self.mark}-two"]
        self.stranger = f"{self.mark}-one-more"
        self._folder = folder
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
        for name in (*self.bots, self.stranger):
            docker("run", "-d", "--name", name, "--label", f"mark={self.mark}", "-e", "SECRET=planted-value", BOT_IMAGE,
                   "sh", "-c", "echo hello from the bot; trap 'exit 0' TERM; while :; do sleep 0.2; done")  # fmt: skip
        # HAProxy's image starts it as the user haproxy, who may not open the engine's socket.
        config = haproxy_config(self.registry)
        self._folder.chmod(0o755)
        (self._folder / "haproxy.cfg").write_text(config, encoding="utf-8")
        docker("run", "-d", "--name", f"{self.mark}-proxy", "--label", f"mark={self.mark}", "--user", "0:0",
               "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only",
               "-v", "/var/run/docker.sock:/var/run/docker.sock",
               "-v", f"{self._folder / 'haproxy.cfg'}:/usr/local/etc/haproxy/haproxy.cfg:ro",
               "-p", "127.0.0.1:0:2375", PROXY_IMAGE)  # fmt: skip
        self.port = int(docker("port", f"{self.mark}-proxy", "2375/tcp").splitlines()[0].rpartition(":")[2])
        deadline = time.monotonic() + 30
        while not self._well():
            if time.monotonic() > deadline:
                raise RuntimeError(docker("logs", f"{self.mark}-proxy"))
            time.sleep(0.05)

    def stop(self) -> None:
        """Remove every container of this run."""
        names = docker("ps", "-aq", "--filter", f"label=mark={self.mark}").split()
        if names:
            docker("rm", "-f", *names)

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
