"""The API's application and process: FastAPI on uvicorn, with the Model Context Protocol server at /mcp."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp, Receive, Scope, Send

from alpha.clock import monotonic_ms
from alpha.errors import AlphaError, Misconfigured, Rejected
from alpha.health import HealthServer
from alpha.live_state.connect import RedisClients
from alpha.logs import logger
from alpha.process import LoopPulse, end_tasks
from alpha.registry import load_registry
from api_server.access import Access
from api_server.mcp_server import build
from api_server.parameters import sentence
from api_server.routes import audit_router, router
from api_server.settings import ApiSettings
from bot_control.no_control import NoControl
from operations.api_tokens import Client
from operations.context import History, Operations

log = logger(__name__)
ASK_S, BLIND_MS = 5.0, 30_000
DOCUMENTS = Path(__file__).resolve().parents[1] / "docs"
_client: ContextVar[Client | None] = ContextVar("client", default=None)
_HEADERS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


def _proposer() -> str | None:
    client = _client.get()
    return client.name if client is not None and "propose" in client.scopes else None


class Guarded:
    """Lets only requests with a valid token through to an ASGI application."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, 403, 405 or 429 as JSON, or pass on."""
        headers = dict(scope.get("headers", ()))
        given = headers.get(b"authorization", b"").decode("latin-1")
        token = given[7:] if given[:7].lower() == "bearer " else ""
        address = scope["client"][0] if scope.get("client") else "unknown"
        try:
            mark = _client.set(await self._access.admit(token, address, "read"))
        except HTTPException as fault:
            answer = JSONResponse({"detail": fault.detail}, fault.status_code, headers=dict(fault.headers or {}))
            await answer(scope, receive, send)
            return
        except AlphaError as fault:
            await JSONResponse({"detail": str(fault)}, 503)(scope, receive, send)
            return
        try:
            if scope.get("method") == "GET":
                # a stream of what the server begins by itself: this one begins nothing, and it would stay open for ever
                refusal = JSONResponse({"detail": "Send requests by POST."}, 405, headers={"Allow": "POST"})
                await refusal(scope, receive, send)
            else:
                await self._app(scope, receive, send)
        finally:
            _client.reset(mark)


#: What FastAPI says of its own answer to a wrong parameter, in whose place ours is a 400.
_REPLACED = frozenset({"422", "HTTPValidationError", "ValidationError"})


def _as_answered(part: Any) -> Any:
    """The document as the API answers: a wrong parameter is a 400, never a 422, and no format is `duration`.

    The `duration` of JSON Schema knows no fractions of a second; that of ISO 8601 does.
    """
    if isinstance(part, dict):
        return {
            key: _as_answered(value)
            for key, value in part.items()
            if key not in _REPLACED and (key, value) != ("format", "duration")
        }
    return [_as_answered(value) for value in part] if isinstance(part, list) else part


class EitherSlash:
    """Answers `/mcp` as `/mcp/`: clients do not all follow a redirect of a POST."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, with the path that the mounted application has."""
        if scope["type"] == "http" and scope["path"] == "/mcp":
            scope = {**scope, "path": "/mcp/", "raw_path": b"/mcp/"}
        await self._app(scope, receive, send)


def create_app(settings: ApiSettings, platform: Operations) -> FastAPI:
    """Build the application."""
    access = Access(platform, settings.api_requests_per_minute, settings.api_failures_per_minute)
    mcp = build(platform, _proposer, DOCUMENTS if DOCUMENTS.is_dir() else None)
    hosts = ["127.0.0.1", "localhost", *(host.strip() for host in settings.api_hosts.split(",") if host.strip())]
    allowed = [f"{host}{port}" for host in hosts for port in ("", ":*")]
    mcp_app = mcp.streamable_http_app(
        streamable_http_path="/",
        json_response=True,
        stateless_http=True,
        transport_security=TransportSecuritySettings(
            allowed_hosts=allowed,
            allowed_origins=[f"{scheme}://{name}" for scheme in ("http", "https") for name in allowed],
        ),
    )

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with mcp.session_manager.run():
            yield

    app = FastAPI(
        title="Alpha",
        version="1",
        summary="What the bots hold, did and earned. Read-only.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.access, app.state.platform = access, platform
    made = app.openapi
    app.openapi = lambda: _as_answered(made())  # type: ignore[method-assign]
    app.include_router(router)
    app.include_router(audit_router)
    app.mount("/mcp", Guarded(mcp_app, access))

    @app.exception_handler(AlphaError)
    async def refuse(_request: Request, fault: AlphaError) -> JSONResponse:
        return JSONResponse({"detail": str(fault)}, 400 if isinstance(fault, Rejected) else 503)

    @app.exception_handler(RequestValidationError)
    async def refuse_parameter(_request: Request, fault: RequestValidationError) -> JSONResponse:
        return JSONResponse({"detail": sentence(fault.errors()[0])}, 400)

    app.add_middleware(EitherSlash)

    @app.middleware("http")
    async def mark(request: Request, call_next):  # type: ignore[no-untyped-def]
        answer = await call_next(request)
        for name, value in _HEADERS:
            answer.headers[name.decode()] = value.decode()
        return answer

    return app


async def serve(settings: ApiSettings, stop: asyncio.Event, pulse: LoopPulse) -> None:
    """Run the API until `stop`."""
    registry = load_registry(settings.alpha_bots_file)
    links, history = RedisClients(settings), History(settings, "api_server")
    platform = Operations(registry, links, history, NoControl())
    stores_ms = [monotonic_ms()]

    async def ask() -> None:
        while True:
            with contextlib.suppress(AlphaError):
                await links.check()
                await history.value("SELECT 1")
                stores_ms[0] = monotonic_ms()
            await asyncio.sleep(ASK_S)

    def blind() -> str | None:
        away_ms = monotonic_ms() - stores_ms[0]
        return f"PostgreSQL or Redis has not answered for {away_ms // 1000} s." if away_ms > BLIND_MS else None

    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.api_host, settings.api_port))
    except OSError:
        raise Misconfigured(
            f"API_PORT {settings.api_port} on {settings.api_host} is in use. Choose another one."
        ) from None
    config = uvicorn.Config(
        create_app(settings, platform),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    running, asking = asyncio.create_task(server._serve([listening])), asyncio.create_task(ask())
    stopping = asyncio.create_task(stop.wait())
    health = HealthServer(settings, pulse, {"stores": blind})
    log.info("started", address=f"http://{settings.api_host}:{listening.getsockname()[1]}")
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await running
    finally:
        await end_tasks([running, asking, stopping])
        listening.close()
        health.close()
        await history.close()
        await links.close()
