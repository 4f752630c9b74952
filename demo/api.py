"""The supervisor's API: HTTP over a Unix socket that only its owner can open. The command centre uses it."""

import asyncio
import urllib.error
import urllib.request
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from alpha.errors import AlphaError
from demo.processes import Process, State, Supervisor

_GRACE_S = 10.0


class SupervisorApi:
    """Serves a supervisor on a socket."""

    def __init__(self, supervisor: Supervisor, path: Path) -> None:
        self._supervisor = supervisor
        self._path = path
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Start listening."""
        app = web.Application(middlewares=[_sentences])
        app.add_routes(
            [
                web.get("/bots", self._list),
                web.post("/bots/{name}/start", self._start),
                web.post("/bots/{name}/stop", self._stop),
                web.post("/bots/{name}/restart", self._restart),
                web.get("/bots/{name}/logs", self._logs),
            ]
        )
        self._path.unlink(missing_ok=True)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self._path)).start()
        self._path.chmod(0o600)

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._path.unlink(missing_ok=True)

    async def _list(self, _request: web.Request) -> web.Response:
        processes = list(self._supervisor.processes.values())
        healthy = await asyncio.gather(*(health_of(process) for process in processes))
        return web.json_response(
            [
                {
                    "container": process.spec.name,
                    "kind": process.spec.kind,
                    "state": process.state,
                    "healthy": is_healthy,
                    "started_ms": process.started_ms,
                    "exit_code": process.exit_code,
                    "restarts": process.restarts,
                }
                for process, is_healthy in zip(processes, healthy, strict=True)
            ]
        )

    async def _start(self, request: web.Request) -> web.Response:
        name = self._bot(request)
        return web.Response(status=204 if await self._supervisor.start(name) else 304)

    async def _stop(self, request: web.Request) -> web.Response:
        name = self._bot(request)
        return web.Response(status=204 if await self._supervisor.stop(name, _grace(request)) else 304)

    async def _restart(self, request: web.Request) -> web.Response:
        await self._supervisor.restart(self._bot(request), _grace(request))
        return web.Response(status=204)

    async def _logs(self, request: web.Request) -> web.Response:
        lines = min(10_000, int(request.query.get("tail", "200")))
        return web.Response(text=self._supervisor.tail(request.match_info["name"], lines))

    def _bot(self, request: web.Request) -> str:
        name = request.match_info["name"]
        process = self._supervisor.processes.get(name)
        if process is None:
            raise web.HTTPNotFound(reason=f"There is no process called {name}.")
        if process.spec.kind != "bot":
            raise web.HTTPForbidden(reason=f"{name} is a service, not a bot.")
        return name


def _grace(request: web.Request) -> float:
    return float(request.query.get("t", _GRACE_S))


@web.middleware
async def _sentences(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as fault:
        return web.json_response({"message": fault.reason}, status=fault.status)
    except AlphaError as fault:
        return web.json_response({"message": str(fault)}, status=404)
    except ValueError as fault:
        return web.json_response({"message": f"A number is malformed: {fault}."}, status=400)


async def health_of(process: Process) -> bool | None:
    """Whether the process reports itself healthy; None when it has no health port or is not running."""
    if process.spec.health_port is None or process.state is not State.RUNNING:
        return None
    return await asyncio.to_thread(_ask, process.spec.health_port)


def _ask(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
