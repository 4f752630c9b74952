"""The HTTP server: health, metadata and inference."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web
from prometheus_client import Counter, Histogram

from alpha.clock import wall_ms
from alpha.errors import Misconfigured, Rejected
from alpha.health import HealthServer
from alpha.logs import logger
from alpha.process import LoopPulse, end_tasks
from alpha.scoring.refusals import expired
from model_server.protocol import HEADER_LENGTH, TooLarge, metadata, read_request, read_rows, write_response
from model_server.settings import ModelServerSettings
from model_server.store import ArtefactStore, NotServed

log = logger(__name__)
VERSION = "1"
_BASE_BYTES, _ROW_BYTES = 65_536, 4_096
REQUESTS = Counter("model_requests_total", "Inference requests", ["model", "outcome"])
SECONDS = Histogram(
    "model_request_seconds", "Time of an inference request", buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.5)
)


class ModelServer:
    """Answers requests over one store."""

    def __init__(self, settings: ModelServerSettings) -> None:
        self._settings = settings
        self.store = ArtefactStore(settings.models_dir)
        self.scanned_s = time.monotonic()

    def http(self) -> web.Server:
        """The HTTP server, which reads no more than a request with the most rows may have."""
        most = _BASE_BYTES + self._settings.models_max_rows * _ROW_BYTES
        loop = asyncio.get_running_loop()

        def make(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
            return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=most)

        return web.Server(self.handle, request_factory=make, access_log=None)

    async def keep_scanning(self) -> None:
        """Look at the folder again and again."""
        while True:
            await asyncio.to_thread(self.store.scan)
            self.scanned_s = time.monotonic()
            await asyncio.sleep(self._settings.models_rescan_s)

    def stale(self) -> str | None:
        """Why the artefacts are not known to be what they were; None when they are."""
        age_s = time.monotonic() - self.scanned_s
        limit_s = 60.0 + 3 * self._settings.models_rescan_s
        return None if age_s < limit_s else f"The folder of models was not looked at for {age_s:.0f} s."

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request of the protocol."""
        began = time.perf_counter()
        parts = request.path.strip("/").split("/")
        try:
            if len(parts) >= 4 and parts[:2] == ["v2", "models"] and parts[-1] == "infer":
                return await self._infer(request, parts, began)
            return self._look(request, parts)
        except NotServed as fault:
            return _fault(str(fault), fault.status)
        except TooLarge as fault:
            return _fault(str(fault), 413)
        except Rejected as fault:
            return _fault(str(fault), 400)
        except web.RequestPayloadError:
            return _fault(
                "The body of the request is damaged: its encoding is not what its headers say. Send it anew.", 400
            )
        except web.HTTPRequestEntityTooLarge:
            return _fault(f"A request may have {self._settings.models_max_rows} rows. Send several.", 413)

    async def _infer(self, request: web.BaseRequest, parts: list[str], began: float) -> web.StreamResponse:
        name, version = _named(parts[2:-1])
        if request.method != "POST":
            return _fault("Inference takes POST.", 405)
        outcome, known = "refused", "unknown"
        try:
            session = self.store.find(name, version)
            known = name
            body = await request.read()
            asked, raw = read_request(body, request.headers.get(HEADER_LENGTH))
            rows = read_rows(asked, raw, session, self._settings.models_max_rows)
            closed_ms = asked.parameters.get("closed_ms", None)
            if closed_ms is not None and not isinstance(closed_ms, int):
                raise Rejected(f"The parameter closed_ms must be whole milliseconds since 1970, got {closed_ms!r:.60}.")
            if old := expired(session.manifest, wall_ms() if closed_ms is None else closed_ms):
                raise Rejected(f"{old[:1].upper()}{old[1:]}.")
            content, headers = write_response(asked, session, session.scores(rows))
            outcome = "served"
        finally:
            REQUESTS.labels(known, outcome).inc()
        SECONDS.observe(time.perf_counter() - began)
        return web.Response(body=content, headers=headers)

    def _look(self, request: web.BaseRequest, parts: list[str]) -> web.StreamResponse:
        if request.method != "GET":
            return _fault(f"{request.method} {request.path[:100]} is not part of the protocol.", 405)
        match parts:
            case ["v2"]:
                return _json({"name": "alpha model_server", "version": VERSION, "extensions": ["binary_tensor_data"]})
            case ["v2", "health", "live"]:
                return _json({"live": True})
            case ["v2", "health", "ready"]:
                ready = self.store.scanned
                return _json({"ready": ready}, 200 if ready else 503)
            case ["v2", "models", *rest, "ready"]:
                self.store.find(*_named(rest))
                return _json({"ready": True})
            case ["v2", "models", *rest] if rest:
                name, version = _named(rest)
                session = self.store.find(name, version)
                return _json(metadata(session, self.store.versions(name)))
        return _fault(f"{request.path[:100]} is not part of the protocol. Begin with /v2.", 404)


def _named(rest: list[str]) -> tuple[str, str | None]:
    """`NAME` or `NAME/versions/V`."""
    if len(rest) == 1 and rest[0]:
        return rest[0], None
    if len(rest) == 3 and rest[1] == "versions" and rest[2]:
        return rest[0], rest[2]
    raise NotServed("The path must be /v2/models/NAME or /v2/models/NAME/versions/VERSION.")


def _json(content: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(content), status=status, content_type="application/json")


def _fault(text: str, status: int) -> web.Response:
    return _json({"error": text}, status)


async def serve(settings: ModelServerSettings, stop: asyncio.Event, pulse: LoopPulse) -> None:
    """Run the model server until `stop`."""
    server = ModelServer(settings)
    if not settings.models_dir.is_dir():
        raise Misconfigured(f"MODELS_DIR names {settings.models_dir}, which is no folder. Make it, or train a model.")
    await asyncio.to_thread(server.store.scan)
    runner = web.ServerRunner(server.http(), shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, settings.models_host, settings.models_port)
    try:
        await site.start()
    except OSError:
        await runner.cleanup()
        raise Misconfigured(
            f"MODELS_PORT {settings.models_port} on {settings.models_host} is in use. Choose another one."
        ) from None
    scanning = asyncio.create_task(server.keep_scanning())
    health = HealthServer(settings, pulse, {"artefacts": lambda: server.store.fault, "folder": server.stale})
    port = runner.addresses[0][1]
    log.info("started", address=f"http://{settings.models_host}:{port}", damaged=len(server.store.faults))
    try:
        await stop.wait()
    finally:
        await end_tasks([scanning])
        await runner.cleanup()
        health.close()
