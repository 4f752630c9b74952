"""Bot control over the demo's supervisor: HTTP and JSON over a unix socket that only its owner can open.

| request | answer |
|---|---|
| `GET /bots` | 200, a list of `SupervisedProcess`, one per process (bots and services) |
| `POST /bots/<container>/start` | 204 started, 304 already running |
| `POST /bots/<container>/stop?t=10` | 204 once it has ended, 304 was not running |
| `POST /bots/<container>/restart?t=10` | 204 once it has been started again |
| `GET /bots/<container>/logs?tail=200` | 200, text/plain |

A fault is a status of 400 or more with `{"message": "one sentence"}`: 404 for an unknown name, 403 if it is not a bot.
"""

import msgspec

from alpha.model.timestamp import at
from bot_control.http import SLACK_S, ControlHttp
from bot_control.interface import Process, ProcessState


class SupervisedProcess(msgspec.Struct, frozen=True):
    """One process as the supervisor reports it. `kind` is "bot" or "service", times are wall-clock milliseconds."""

    container: str
    kind: str
    state: ProcessState
    healthy: bool | None = None
    started_ms: int | None = None
    exit_code: int | None = None
    restarts: int = 0


class Supervisor:
    """Bot control over processes."""

    def __init__(self, http: ControlHttp) -> None:
        self._http = http

    async def list(self) -> list[Process]:
        """Every process of the demo, by name."""
        answer = await self._http.ask("GET", "/bots", {}, SLACK_S)
        rows = msgspec.json.decode(answer.content, type=list[SupervisedProcess])
        return sorted((_process(row) for row in rows), key=lambda process: process.container)

    async def start(self, container: str) -> bool:
        """Start it; False if it was already running."""
        return (await self._http.ask("POST", f"/bots/{container}/start", {}, SLACK_S)).status_code != 304

    async def stop(self, container: str, grace_s: int = 10) -> bool:
        """Stop it and wait until it has ended; False if it was not running."""
        answer = await self._http.ask("POST", f"/bots/{container}/stop", {"t": grace_s}, grace_s + SLACK_S)
        return answer.status_code != 304

    async def restart(self, container: str, grace_s: int = 10) -> None:
        """Stop it and start it again."""
        await self._http.ask("POST", f"/bots/{container}/restart", {"t": grace_s}, grace_s + SLACK_S)

    async def logs(self, container: str, lines: int) -> str:
        """Return its last lines of output, oldest first."""
        return (await self._http.ask("GET", f"/bots/{container}/logs", {"tail": lines}, SLACK_S)).text

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()


def _process(row: SupervisedProcess) -> Process:
    ended = row.exit_code is not None and row.state is not ProcessState.RUNNING
    detail = f"{row.state} ({row.exit_code})" if ended else row.state.value
    started = at(row.started_ms) if row.started_ms is not None and row.state is ProcessState.RUNNING else None
    return Process(row.container, row.state, row.healthy, detail, started)
