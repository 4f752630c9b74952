"""Serves `/healthz`, `/livez` and `/metrics` of a service from a thread, so that a stalled event loop shows as unhealthy.

A health check must be able to fail: `/healthz` answers 200 only when the loop runs and every check of the
service's own work passes, otherwise 503 with one line per fault. `/livez` asks only whether the loop runs: an orchestrator that
replaces what is unhealthy must not replace a listener, with what it holds in memory, because PostgreSQL is away.
"""

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app

from alpha.config.services import HealthSettings
from alpha.drift import NOTES
from alpha.errors import Misconfigured
from alpha.process import LoopPulse

LOOP_LIMIT_S = 10.0

#: A check returns None when healthy, otherwise one sentence. It runs in the server's thread and must only read.
Check = Callable[[], str | None]


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is wsgiref's
        """Do not log requests: probes arrive every few seconds."""


class HealthServer:
    """Serves the health and the metrics of one process on one port."""

    def __init__(
        self,
        settings: HealthSettings,
        pulse: LoopPulse,
        checks: Mapping[str, Check],
        registry: CollectorRegistry = REGISTRY,
        details: Callable[[], Mapping[str, object]] | None = None,
    ) -> None:
        self._pulse = pulse
        self._checks = checks
        self._details = details
        with contextlib.suppress(ValueError):  # registered by an earlier server of this process
            registry.register(NOTES)
        self._metrics = make_wsgi_app(registry)
        try:
            self._server: WSGIServer = make_server(
                settings.health_host, settings.health_port, self._answer, handler_class=_Quiet
            )
        except OSError as fault:
            raise Misconfigured(
                f"HEALTH_PORT {settings.health_port} on {settings.health_host} cannot be opened: {fault.strerror}. "
                "Choose another HEALTH_PORT, or end what uses it."
            ) from None
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True, name="health").start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def _stalled(self) -> dict[str, str]:
        age = self._pulse.age_s()
        return {"loop": f"The event loop has stood still for {age:.0f} s."} if age > LOOP_LIMIT_S else {}

    def faults(self) -> dict[str, str]:
        """The failing checks: name to sentence. Empty when healthy."""
        found = self._stalled()
        for name, check in self._checks.items():
            fault = check()
            if fault is not None:
                found[name] = fault
        return found

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            page: Iterable[bytes] = self._metrics(environ, start_response)
            return page
        if path not in ("/healthz", "/livez"):
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"Ask /healthz, /livez or /metrics.\n"]
        faults = self.faults() if path == "/healthz" else self._stalled()
        body: dict[str, object] = {"healthy": not faults, "faults": faults}
        if self._details is not None and path == "/healthz":
            body["details"] = dict(self._details())
        start_response("503 Service Unavailable" if faults else "200 OK", [("Content-Type", "application/json")])
        return [json.dumps(body, default=str).encode() + b"\n"]
