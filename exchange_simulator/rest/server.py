"""Handles HTTP requests: limits, signature, parameters, endpoint, response envelope."""

import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from exchange_simulator.engine.model import Refused
from exchange_simulator.exchange import Exchange
from exchange_simulator.faults import Faults
from exchange_simulator.keys import Key, check_permission, usable
from exchange_simulator.live import CANDLES, load_candles
from exchange_simulator.maintenance import OPEN_PATHS
from exchange_simulator.market.model import BuiltMarket, LiveMarket
from exchange_simulator.rest import account, batch, market, order, position
from exchange_simulator.rest.args import check
from exchange_simulator.rest.clocks import Clocks
from exchange_simulator.rest.endpoint import Call, Endpoint
from exchange_simulator.rest.limits import Limits, Standing

TIME_PATH = "/v5/market/time"
SIGNED_BY = ("X-BAPI-API-KEY", "X-BAPI-TIMESTAMP", "X-BAPI-SIGN")
ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    (endpoint.method, endpoint.path): endpoint
    for module in (market, order, batch, position, account)
    for endpoint in module.ENDPOINTS
}
TICKERS = "/v5/market/tickers"
TICKER_MS = 25 * 3_600_000  # period covered by a ticker
BUILDS = CANDLES | {TICKERS}
PATHS = {path for _, path in ENDPOINTS}
_JSON = {"Content-Type": "application/json; charset=utf-8"}


@dataclass(slots=True)
class Answer:
    """A response: retCode, result and headers."""

    code: int
    message: str
    result: Any
    extra: dict[str, Any]
    standing: Standing | None = None


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _items(sent: Mapping[str, Any]) -> int:
    """Number of orders in a batch; at least one, so that a malformed batch also counts."""
    request = sent.get("request")
    return max(len(request), 1) if isinstance(request, list) else 1


class Rest:
    """The REST side of one exchange."""

    def __init__(self, exchange: Exchange, faults: Faults, wall: Callable[[], int] = wall_ms) -> None:
        self.exchange = exchange
        self.faults = faults
        self.limits = Limits(exchange.setup.rate_limits, lambda: wall() / 1000)
        #: Speed of the free clock; None for other clocks.
        self.speed: Callable[[], float | None] = lambda: None
        self.clocks = Clocks(lambda: exchange.now_ms, wall, lambda: self.speed(), lambda: exchange.skew_ms)

    @property
    def shown_ms(self) -> int:
        """The time in responses: business time plus the injected skew."""
        return self.exchange.now_ms + self.exchange.skew_ms

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request."""
        if not self.limits.admit(request.remote or ""):
            return web.Response(status=403, text="access too frequent")
        path, _, query = request.raw_path.partition("?")
        endpoint = ENDPOINTS.get((request.method, path))
        if endpoint is None:
            return self._no_route(request.method, path)
        if request.method == "GET" and request.can_read_body:
            return web.Response(status=403, text="a GET has no body")
        if endpoint.private and not all(request.headers.get(name) for name in SIGNED_BY):
            return web.Response(status=401, text=f"the headers {', '.join(SIGNED_BY)} are needed")
        body = await request.read() if request.method == "POST" else b""
        key, symbol = request.headers.get("X-BAPI-API-KEY", ""), request.query.get("symbol", "")
        fault = self.faults.for_call(request.method, path, key, symbol)
        if fault is not None and not fault.after:
            spoiled = await self.faults.spoil(fault, request, self.shown_ms)
            if spoiled is not None:
                return spoiled
        self.exchange.skew_ms = self.faults.skew_ms
        if path in CANDLES and isinstance(self.exchange.market, LiveMarket):
            refused = await self._fetch(self.exchange.market, endpoint, query)
            if refused is not None:
                return self.respond(refused)
        if self.exchange.maintenance.windows and self.exchange.maintenance.closed and path not in OPEN_PATHS:
            return self.respond(Answer(10016, "Server error: maintenance", {}, {}))
        if path in BUILDS and isinstance(self.exchange.market, BuiltMarket):
            await self._build(endpoint, path, query)
        answer = self.answer(endpoint, request.headers, query, body, request.remote or "")
        if path == TIME_PATH:
            self.clocks.show()
        if fault is not None and fault.after:
            spoiled = await self.faults.spoil(fault, request, self.shown_ms)
            if spoiled is not None:
                return spoiled
        self.faults.drift(path, answer.result)
        return self.respond(answer)

    async def _fetch(self, market: LiveMarket, endpoint: Endpoint, query: str) -> Answer | None:
        """Fetches the candles a request needs from upstream; returns a response only on failure."""
        try:
            await load_candles(market, self.exchange.now_ms, check(endpoint.params, self._sent(endpoint, query, b"")))
        except Refused as refusal:
            return Answer(refusal.code, refusal.message, {}, {})
        return None

    async def _build(self, endpoint: Endpoint, path: str, query: str) -> None:
        """Generates the history a request needs before it is answered; request errors are reported by the endpoint."""
        try:
            args = check(endpoint.params, self._sent(endpoint, query, b""))
        except Refused:
            return
        exchange, symbol = self.exchange, args.text("symbol")
        if path == TICKERS:
            day = exchange.now_ms - TICKER_MS
            for each in [symbol] if symbol else list(exchange.market.instruments):
                await exchange.builder.build(exchange.candles.build(each, "60", day, None, 1000))
        else:
            limits = args.maybe_integer("start"), args.maybe_integer("end"), args.integer("limit")
            await exchange.builder.build(exchange.candles.build(symbol, args.text("interval"), *limits))

    def _no_route(self, method: str, path: str) -> web.Response:
        if path in PATHS:
            return web.Response(status=400, text=f"{method} is not a method of {path}")
        answer = self.respond(Answer(10017, "Route not found.", {}, {}))
        answer.set_status(404)
        return answer

    def respond(self, answer: Answer) -> web.Response:
        """Wraps an answer in the response envelope."""
        body = msgspec.json.encode(
            {
                "retCode": answer.code,
                "retMsg": answer.message,
                "result": answer.result,
                "retExtInfo": answer.extra,
                "time": self.shown_ms,
            }
        )
        headers = {**_JSON, **answer.standing.headers()} if answer.standing is not None else _JSON
        return web.Response(body=body, headers=headers)

    def answer(
        self, endpoint: Endpoint, headers: Mapping[str, str], query: str, body: bytes, address: str = ""
    ) -> Answer:
        """Checks a request and runs its endpoint; the effects are stored and pushed before this returns."""
        try:
            key = self._authenticate(endpoint, headers, query, body, address)
            sent = self._sent(endpoint, query, body)
        except Refused as refusal:
            return Answer(refusal.code, refusal.message, {}, {})
        return self.carry_out(endpoint, key, sent)

    def carry_out(self, endpoint: Endpoint, key: Key | None, sent: Mapping[str, Any]) -> Answer:
        """Runs an endpoint for an authenticated caller within its rate limits."""
        standing: Standing | None = None
        extra: dict[str, Any] = {}
        try:
            if key is not None and endpoint.calls:
                cost = _items(sent) if endpoint.batch else 1
                standing = self.limits.visit(key.uid, endpoint.path, endpoint.calls, endpoint.window_s, cost)
                if not standing.granted:
                    raise Refused(10006, "Too many visits. Exceeded the API Rate Limit.")
            args = check(endpoint.params, sent)
            call = Call(self.exchange, args, key, extra, standing.granted if standing is not None else 1)
            result = endpoint.handler(call)
        except Refused as refusal:
            self.exchange.commit()
            return Answer(refusal.code, refusal.message, refusal.result, extra, standing)
        self.exchange.commit()
        return Answer(0, "OK", result, extra, standing)

    def _sent(self, endpoint: Endpoint, query: str, body: bytes) -> Mapping[str, Any]:
        if endpoint.method == "GET":
            return dict(parse_qsl(query, keep_blank_values=True))
        if not body:
            return {}
        try:
            sent = msgspec.json.decode(body)
        except msgspec.DecodeError:
            raise Refused(10001, "params error: the body is not JSON") from None
        if not isinstance(sent, dict):
            raise Refused(10001, "params error: the body is not a JSON object")
        return sent

    # --- signature ----------------------------------------------------------------------------------------------

    def _authenticate(
        self, endpoint: Endpoint, headers: Mapping[str, str], query: str, body: bytes, address: str
    ) -> Key | None:
        if not endpoint.private:
            return None
        api_key, stamp = headers.get("X-BAPI-API-KEY", ""), headers.get("X-BAPI-TIMESTAMP", "")
        sign, window = headers.get("X-BAPI-SIGN", ""), headers.get("X-BAPI-RECV-WINDOW", "")
        key = usable(self.exchange.keys.get(api_key), self.exchange.now_ms, address, headers.get("Host", ""))
        clock = self.clocks.check(api_key, stamp, window)
        payload = body if endpoint.method == "POST" else query.encode()
        message = f"{stamp}{api_key}{window}".encode() + payload
        expected = hmac.new(key.secret.encode(), message, sha256).hexdigest()
        if not hmac.compare_digest(expected, sign):
            raise Refused(10004, "error sign! origin_string[" + message.decode(errors="replace") + "]")
        self.clocks.bind(api_key, clock)
        if endpoint.writes:
            check_permission(key, endpoint.group)
        return key
