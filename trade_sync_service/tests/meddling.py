"""Manipulates an exchange's responses in transit, as a real one does only in bad moments."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from exchange_simulator.app import App

CLOSED_PNL = "/v5/position/closed-pnl"
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Meddle = Callable[[web.BaseRequest, Handler], Awaitable[web.StreamResponse]]


class Meddler:
    """Sits between an exchange and its callers; counts the calls per path."""

    def __init__(self, app: App) -> None:
        self._true: Handler = app.rest.handle
        self.calls: dict[str, int] = {}
        self.meddle: Meddle | None = None
        app.rest.handle = self._handle  # type: ignore[method-assign]

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        self.calls[path] = self.calls.get(path, 0) + 1
        if self.meddle is not None:
            return await self.meddle(request, self._true)
        return await self._true(request)


def of_closed_pnl(change: Meddle) -> Meddle:
    """Apply `change` to closed-P&L calls only."""

    async def meddle(request: web.BaseRequest, true: Handler) -> web.StreamResponse:
        return await (change(request, true) if request.path == CLOSED_PNL else true(request))

    return meddle


async def body_of(answer: web.StreamResponse) -> dict[str, Any]:
    """The decoded envelope of a response."""
    assert isinstance(answer, web.Response)
    assert isinstance(answer.body, bytes)
    decoded: dict[str, Any] = json.loads(answer.body)
    return decoded


def answered(body: object) -> web.Response:
    """A response with this envelope."""
    return web.json_response(body)


def code(ret_code: int, **headers: str) -> web.Response:
    """A refusal with this return code."""
    return web.json_response(
        {"retCode": ret_code, "retMsg": "meddled with", "result": {}, "retExtInfo": {}, "time": 1_735_689_600_000},
        headers=headers,
    )
