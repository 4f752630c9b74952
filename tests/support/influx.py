"""A real InfluxDB 1.x on loopback: Debian's package `influxdb`, unpacked, not installed."""

import subprocess
import time
from pathlib import Path

import httpx

from demo.ports import free_port
from tests.support import debian

USER, PASSWORD, DATABASE = "alpha", "a-password-of-the-tests", "ticks"


def program() -> tuple[Path | None, str]:
    """The server's program; None and the reason where it cannot be had."""
    return debian.program("influxdb", "influxd")


class EmbeddedInflux:
    """One server with its data in `folder`; it can be killed and started again on the same port."""

    def __init__(self, folder: Path, influxd: Path) -> None:
        self.port = free_port()
        self._influxd = influxd
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._configuration = folder / "influxdb.conf"
        self._configuration.write_text(
            f'reporting-disabled = true\nbind-address = "127.0.0.1:{free_port()}"\n'
            f'[meta]\ndir = "{folder}/meta"\n'
            f'[data]\ndir = "{folder}/data"\nwal-dir = "{folder}/wal"\nindex-version = "tsi1"\nquery-log-enabled = false\n'
            "[monitor]\nstore-enabled = false\n"
            f'[http]\nbind-address = "127.0.0.1:{self.port}"\nlog-enabled = false\nauth-enabled = true\n'
        )

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._influxd), "-config", str(self._configuration)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                if httpx.get(f"{self.url}/ping", trust_env=False).status_code == 204:
                    return
            except httpx.TransportError:
                pass
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError((self._folder / "log").read_text()[-2_000:])
            time.sleep(0.05)

    def set_up(self, database: str = DATABASE) -> None:
        """Make the user and a database."""
        self.query(f"CREATE USER {USER} WITH PASSWORD '{PASSWORD}' WITH ALL PRIVILEGES", authenticated=False)
        self.query(f'CREATE DATABASE "{database}"')

    def query(self, text: str, *, database: str = DATABASE, authenticated: bool = True) -> list[dict[str, object]]:
        """The series of one query."""
        answer = httpx.post(
            f"{self.url}/query",
            params={"db": database, "epoch": "ns"},
            data={"q": text},
            auth=(USER, PASSWORD) if authenticated else None,
            trust_env=False,
            timeout=30,
        )
        found: list[dict[str, object]] = answer.json()["results"][0].get("series", [])
        return found

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
