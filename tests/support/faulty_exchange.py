"""A scripted exchange on loopback: for faults that a real one does not produce on demand."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from alpha.bybit.caps import OrderCaps, OrderGuard
from alpha.bybit.client import Gateway
from alpha.bybit.hosts import simulated_hosts
from alpha.bybit.rate_limiter import RateLimiter
from alpha.bybit.session import CallPolicy, Credentials
from alpha.clock import Backoff, Clock
from alpha.model.account import Environment
from alpha.model.money import amount
from tests.support.clocks import HandClock

CREDENTIALS = Credentials("testkey", "testsecret")


@dataclass(slots=True)
class Seen:
    """One received request."""

    path: str
    query: dict[str, str]
    body: dict[str, Any]
    headers: dict[str, str]
    raw_query: str


Reply = Callable[[web.Request], web.StreamResponse | Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class FaultyExchange:
    """Answers each path from a list of replies; the last one is repeated."""

    clock: HandClock
    url: str = ""
    skew_ms: int = 0
    seen: list[Seen] = field(default_factory=list)
    replies: dict[str, list[Reply]] = field(default_factory=dict)

    def script(self, path: str, *replies: Reply) -> None:
        """Set the replies of `path` (without /v5/), one per call."""
        self.replies[path] = list(replies)

    def count(self, path: str) -> int:
        """Number of requests to `path`."""
        return sum(1 for request in self.seen if request.path == path)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The handler of every path."""
        path = request.path.removeprefix("/v5/")
        text = await request.text()
        self.seen.append(
            Seen(
                path,
                dict(request.query),
                json.loads(text) if text else {},
                dict(request.headers),
                request.url.raw_query_string,
            )
        )
        if path == "market/time" and path not in self.replies:
            now = self.clock.ms + self.skew_ms
            replies = [ok({"timeSecond": str(now // 1_000), "timeNano": str(now * 1_000_000)}, time_ms=now)]
        else:
            replies = self.replies.get(path, [])
        if not replies:
            return web.Response(status=404)
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        answer = reply(request)
        return answer if isinstance(answer, web.StreamResponse) else await answer


def ok(result: object, *, time_ms: int = 1_700_000_000_000, headers: dict[str, str] | None = None) -> Reply:
    """A response with retCode 0."""
    return lambda _request: web.json_response(
        {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": time_ms}, headers=headers
    )


def code(ret_code: int, message: str = "refused", headers: dict[str, str] | None = None) -> Reply:
    """A response with another retCode; HTTP status 200, as from Bybit."""
    return lambda _request: web.json_response(
        {"retCode": ret_code, "retMsg": message, "result": {}, "retExtInfo": {}, "time": 1_700_000_000_000},
        headers=headers,
    )


def status(http_status: int, text: str = "") -> Reply:
    """A response with an HTTP status other than 200."""
    return lambda _request: web.Response(status=http_status, text=text)


def text(body: str) -> Reply:
    """A response with an arbitrary `body`."""
    return lambda _request: web.Response(text=body, content_type="application/json")


def dropped(request: web.Request) -> web.StreamResponse:
    """The request arrives, and the connection breaks before the response."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


@asynccontextmanager
async def faulty_exchange() -> AsyncIterator[FaultyExchange]:
    """A running FaultyExchange."""
    exchange = FaultyExchange(HandClock())
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", exchange.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    exchange.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield exchange
    finally:
        await runner.cleanup()


def gateway_to(exchange: FaultyExchange, *, tries: int = 3, timeout_s: float = 5.0) -> Gateway:
    """A gateway to `exchange` that uses the same clock."""
    clock = exchange.clock

    async def no_halt(_symbol: str) -> str | None:
        return None

    caps = OrderCaps(max_order_usdt=amount("100000", "cap"), max_orders_per_minute=1_000)
    time = Clock(
        wall_ms=clock.now_ms, boottime_ms=clock.now_ms, monotonic_ms=clock.now_ms, sleep=clock.sleep, random=lambda: 0.5
    )
    return Gateway(
        simulated_hosts(exchange.url, exchange.url.replace("http", "ws")),
        CREDENTIALS,
        RateLimiter(None, clock=time),
        account="bot",
        guard=OrderGuard("bot", Environment.SIMULATED, caps, no_halt, clock=time),
        policy=CallPolicy(backoff=Backoff(tries=tries), timeout_s=timeout_s),
        clock=time,
    )
