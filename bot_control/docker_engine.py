"""Bot control over Docker's Engine API: start, stop, restart, logs and list, without `inspect`.

The response of `inspect` contains a container's environment; the list does not.
"""

import struct
from collections.abc import Collection

import msgspec

from alpha.model.timestamp import at
from bot_control.http import SLACK_S, ControlHttp
from bot_control.interface import Process, ProcessState

API = "/v1.43"
_HEADER = struct.Struct(">BxxxL")


class _Listed(msgspec.Struct, frozen=True):
    Names: list[str]
    State: str
    Status: str = ""
    Created: int = 0
    Labels: dict[str, str] = {}


class DockerEngine:
    """Bot control over containers. `containers` may be controlled; `services` are only listed.

    `prefix` starts each container's real name; callers never see it.
    """

    def __init__(
        self, http: ControlHttp, containers: Collection[str], services: Collection[str], prefix: str = ""
    ) -> None:
        self._http = http
        self._prefix = prefix
        self._known = frozenset(containers) | frozenset(services)

    async def list(self) -> list[Process]:
        """Return the known containers, by name; others on the same machine are left out."""
        answer = await self._http.ask("GET", f"{API}/containers/json", {"all": 1}, SLACK_S)
        rows = msgspec.json.decode(answer.content, type=list[_Listed])
        names = [(name.lstrip("/"), row) for row in rows for name in row.Names]
        found = [(name.removeprefix(self._prefix), row) for name, row in names if name.startswith(self._prefix)]
        return sorted((_process(name, row) for name, row in found if name in self._known), key=lambda p: p.container)

    async def start(self, container: str) -> bool:
        """Start it; False if it was already running."""
        answer = await self._http.ask("POST", f"{API}/containers/{self._prefix}{container}/start", {}, SLACK_S)
        return answer.status_code != 304

    async def stop(self, container: str, grace_s: int = 10) -> bool:
        """Stop it and wait until it has ended; False if it was not running."""
        answer = await self._http.ask(
            "POST", f"{API}/containers/{self._prefix}{container}/stop", {"t": grace_s}, grace_s + SLACK_S
        )
        return answer.status_code != 304

    async def restart(self, container: str, grace_s: int = 10) -> None:
        """Stop it and start it again."""
        await self._http.ask(
            "POST", f"{API}/containers/{self._prefix}{container}/restart", {"t": grace_s}, grace_s + SLACK_S
        )

    async def logs(self, container: str, lines: int) -> str:
        """Return its last lines of standard output and error, oldest first."""
        answer = await self._http.ask(
            "GET",
            f"{API}/containers/{self._prefix}{container}/logs",
            {"stdout": 1, "stderr": 1, "tail": lines},
            SLACK_S,
        )
        return demultiplexed(answer.content).decode(errors="replace")

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()


def demultiplexed(raw: bytes) -> bytes:
    """Decode Docker's multiplexed log stream (8-byte header per frame); the output of a TTY is returned as it is."""
    out = bytearray()
    position = 0
    while position + _HEADER.size <= len(raw):
        stream, size = _HEADER.unpack_from(raw, position)
        if stream > 2 or raw[position + 1 : position + 4] != b"\0\0\0":
            return raw
        position += _HEADER.size
        out += raw[position : position + size]
        position += size
    return bytes(out) if position == len(raw) else bytes(out) + raw[position:]


def _process(name: str, row: _Listed) -> Process:
    healthy = None
    if "(unhealthy)" in row.Status:
        healthy = False
    elif "(healthy)" in row.Status:
        healthy = True
    started = at(row.Created * 1000) if row.Created and row.State == "running" else None
    return Process(name, ProcessState(row.State), healthy, row.Status, started)
