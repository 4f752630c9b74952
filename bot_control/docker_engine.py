"""Bot control over Docker's Engine API: start, stop, restart, logs and list, without `inspect`.

The response of `inspect` contains a container's environment; the list does not. docker's low-level client blocks, so
each call runs in a thread of its own pool, with a deadline.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from alpha.errors import Rejected, Retry
from alpha.model.timestamp import at
from bot_control.http import SLACK_S
from bot_control.interface import Process, ProcessState

if TYPE_CHECKING:
    from docker.api.client import APIClient

#: Fixed, so that the client never asks the engine for its version: the proxy does not allow that.
API_VERSION = "1.43"
_HEADER = struct.Struct(">BxxxL")
_Result = TypeVar("_Result")


class DockerEngine:
    """Bot control over containers. `containers` may be controlled; `services` are only listed.

    `prefix` starts each container's real name; callers never see it.
    """

    def __init__(self, url: str, containers: Collection[str], services: Collection[str], prefix: str = "") -> None:
        self._url = url
        self._socket = Path(urlsplit(url).path) if url.startswith("unix:") else None
        self._prefix = prefix
        self._known = frozenset(containers) | frozenset(services)
        self._client: APIClient | None = None
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="docker")

    async def list(self) -> list[Process]:
        """Return the known containers, by name; others on the same machine are left out."""
        rows = await self._call(lambda client: client.containers(all=True))
        names = [(name.lstrip("/"), row) for row in rows for name in row["Names"]]
        found = [(name.removeprefix(self._prefix), row) for name, row in names if name.startswith(self._prefix)]
        return sorted((_process(name, row) for name, row in found if name in self._known), key=lambda p: p.container)

    async def start(self, container: str) -> bool:
        """Start it; False if it was already running."""
        if await self._running(container):
            return False
        await self._call(lambda client: client.start(self._prefix + container))
        return True

    async def stop(self, container: str, grace_s: int = 10) -> bool:
        """Stop it and wait until it has ended; False if it was not running."""
        was_running = await self._running(container)
        # Asked in any case: a container that restarts in a loop is "restarting" in the list.
        await self._call(lambda client: client.stop(self._prefix + container, timeout=grace_s), grace_s)
        return was_running

    async def restart(self, container: str, grace_s: int = 10) -> None:
        """Stop it and start it again."""
        await self._call(lambda client: client.restart(self._prefix + container, timeout=grace_s), grace_s)

    async def logs(self, container: str, lines: int) -> str:
        """Return its last lines of standard output and error, oldest first."""
        return demultiplexed(await self._call(lambda client: self._raw_logs(client, container, lines))).decode(
            errors="replace"
        )

    async def close(self) -> None:
        """Close the connections. A call in progress ends with its own deadline."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.close()

    async def _running(self, container: str) -> bool:
        return any(process.container == container and process.running for process in await self.list())

    def _raw_logs(self, client: "APIClient", container: str, lines: int) -> bytes:
        """The log's frames. A request of its own, because the client's `logs` inspects the container."""
        answer = client.get(
            f"{client.base_url}/v{API_VERSION}/containers/{self._prefix}{container}/logs",
            params={"stdout": 1, "stderr": 1, "tail": lines},
            timeout=SLACK_S,
        )
        if answer.status_code >= 400:
            raise self._refusal(answer.status_code, _explanation(answer))
        return bytes(answer.content)

    def _connected(self) -> "APIClient":
        if self._client is None:
            from docker.api.client import APIClient  # a third of a second of imports that only the first call needs

            self._client = APIClient(base_url=self._url, version=API_VERSION, timeout=SLACK_S)
            # Ignore proxy settings in the environment: a proxy would see, and could answer, local requests.
            self._client.trust_env = False
            self._client.proxies = {}
        return self._client

    async def _call(self, work: Callable[["APIClient"], _Result], grace_s: float = 0.0) -> _Result:
        """Run `work` in a thread. Raises Retry without a response in time, Rejected for a refusal."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(2 * SLACK_S + grace_s):
                return await loop.run_in_executor(self._threads, self._guarded, work)
        except TimeoutError:
            raise self._unreachable("no response in time") from None

    def _guarded(self, work: Callable[["APIClient"], _Result]) -> _Result:
        from docker.errors import APIError, DockerException
        from requests.exceptions import RequestException

        if self._socket is not None:
            # asked first: docker's own client leaves a socket open where nobody listens
            try:
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.settimeout(SLACK_S)
                    probe.connect(str(self._socket))
            except FileNotFoundError:
                raise self._unreachable("no such socket") from None
            except OSError as fault:
                raise self._unreachable(fault.strerror or type(fault).__name__) from None
        try:
            return work(self._connected())
        except APIError as fault:
            raise self._refusal(fault.response.status_code, str(fault.explanation or fault)) from None
        except (RequestException, DockerException) as fault:
            raise self._unreachable(type(fault).__name__) from None

    def _unreachable(self, why: str) -> Retry:
        return Retry(f"Bot control does not answer at {self._url} ({why}). Start it, or check BOT_CONTROL_URL.")

    def _refusal(self, status: int, said: str) -> Rejected | Retry:
        if status in {502, 503, 504}:
            return Retry(f"Bot control at {self._url} cannot reach the engine ({status}). Is Docker running?")
        if status == 403:
            return Rejected(
                f"Bot control at {self._url} does not allow this. Render its allow-list again: alpha render."
            )
        if status == 404:
            return Rejected(f"No such container: {said.rstrip('.')}. Create it first: docker compose up -d.")
        return Rejected(f"Bot control at {self._url} answered {status}: {said.rstrip('.')}.")


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


def _explanation(answer: Any) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return str(answer.reason)


def _process(name: str, row: dict[str, Any]) -> Process:
    status = str(row.get("Status", ""))
    healthy = None
    if "(unhealthy)" in status:
        healthy = False
    elif "(healthy)" in status:
        healthy = True
    created, state = int(row.get("Created", 0)), str(row["State"])
    started = at(created * 1000) if created and state == "running" else None
    return Process(name, ProcessState(state), healthy, status, started)
