"""An exchange that listens inside the test, with a market of given candles and its own wall clock."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import numpy as np
from yarl import URL

from exchange_simulator.app import App
from exchange_simulator.engine.model import Rules
from exchange_simulator.exchange import Exchange, Setup
from exchange_simulator.keys import parse_account
from exchange_simulator.market import catalogue
from exchange_simulator.market.model import Path as Walk
from exchange_simulator.market.replay import ReplayMarket

BASE_MS = 300_000
START_MS = 1_700_006_400_000  # a funding time: 2023-11-15T00:00
WARM_BARS = 20
KEY, SECRET = "test-key", "test-secret"
Row = dict[str, Any]


def market(
    prices: list[tuple[int, int, int, int]], funding_rate: str = "0.0001", symbol: str = "BTCUSDT"
) -> ReplayMarket:
    """Five-minute candles in whole USDT (open, high, low, close), preceded by flat ones at the first open."""
    quiet = [(prices[0][0],) * 4] * WARM_BARS
    rows = [
        (START_MS + (number - WARM_BARS) * BASE_MS, *(price * 10 for price in candle), 1_000)
        for number, candle in enumerate(quiet + prices)
    ]
    instrument = catalogue.instrument(symbol, price=Decimal(prices[0][0]), launch_ms=0, tick=Decimal("0.1"))
    return ReplayMarket({symbol: np.array(rows, dtype=np.int64)}, {symbol: instrument}, Decimal(funding_rate))


FLAT = [(50_000, 50_100, 49_900, 50_000)] * 12


class Wall:
    """A wall clock in milliseconds that the test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


class Client:
    """A signing REST and streaming client of one served exchange."""

    def __init__(self, app: App, http: aiohttp.ClientSession, wall: Wall, key: str = KEY, secret: str = SECRET) -> None:
        self.app = app
        self.exchange = app.exchange
        self.wall = wall
        self.http = http
        self.key, self.secret = key, secret
        self.url = f"http://127.0.0.1:{app.port}"

    def with_key(self, key: str, secret: str) -> "Client":
        return Client(self.app, self.http, self.wall, key, secret)

    def signed_headers(self, text: str, stamp: int | None = None, window: str = "5000") -> dict[str, str]:
        at = str(self.wall() if stamp is None else stamp)
        sign = hmac.new(self.secret.encode(), f"{at}{self.key}{window}{text}".encode(), hashlib.sha256).hexdigest()
        return {
            "X-BAPI-API-KEY": self.key,
            "X-BAPI-TIMESTAMP": at,
            "X-BAPI-RECV-WINDOW": window,
            "X-BAPI-SIGN": sign,
        }

    async def raw(
        self, method: str, path: str, text: str = "", headers: Mapping[str, str] | None = None
    ) -> aiohttp.ClientResponse:
        headers = self.signed_headers(text) if headers is None else headers
        if method == "POST":
            return await self.http.post(path, data=text, headers=headers)
        # `encoded` sends the query byte for byte as it was signed.
        return await self.http.get(URL(f"{self.url}{path}?{text}", encoded=True), headers=headers)

    async def get(self, path: str, **query: object) -> Row:
        answer = await self.raw("GET", path, urlencode(query))
        return dict(await answer.json())

    async def post(self, path: str, **body: object) -> Row:
        answer = await self.raw("POST", path, json.dumps(body))
        return dict(await answer.json())

    async def order(self, side: str, qty: str, **more: object) -> Row:
        """Places an order (a market order unless `price` is given) and returns the complete response."""
        kind = "Limit" if "price" in more else "Market"
        return await self.post(
            "/v5/order/create", category="linear", symbol="BTCUSDT", side=side, orderType=kind, qty=qty, **more
        )

    async def rows(self, path: str, **query: object) -> list[Row]:
        """Every row of a paged list, page by page."""
        found: list[Row] = []
        cursor = ""
        while True:
            text = urlencode({"category": "linear", **query}) + (f"&cursor={cursor}" if cursor else "")
            answer = await (await self.raw("GET", path, text)).json()
            assert answer["retCode"] == 0, answer
            found.extend(answer["result"]["list"])
            cursor = answer["result"].get("nextPageCursor", "")
            if not cursor or not answer["result"]["list"]:
                return found

    async def sim(self, path: str, method: str = "POST", /, **body: object) -> Row:
        """A control call."""
        answer = await self.http.request(method, f"/_sim/{path}", json=body or None)
        return {"status": answer.status, **await answer.json()}

    async def advance(self, points: int = 1) -> Row:
        return await self.sim("advance", points=points)

    @asynccontextmanager
    async def stream(self, *topics: str, public: bool = False) -> AsyncIterator["Stream"]:
        """A subscribed stream."""
        path = "/v5/public/linear" if public else "/v5/private"
        async with self.http.ws_connect(path) as socket:
            stream = Stream(socket)
            if not public:
                assert (await stream.login(self.key, self.secret))["success"]
            for topic in topics:
                answer = await stream.ask({"op": "subscribe", "req_id": topic, "args": [topic]})
                assert answer["success"], answer
            yield stream


class Stream:
    """One WebSocket of the test."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.kept: list[Row] = []

    async def login(self, key: str, secret: str, expires: int = 9_000_000_000_000) -> Row:
        sign = hmac.new(secret.encode(), f"GET/realtime{expires}".encode(), hashlib.sha256).hexdigest()
        return await self.ask({"op": "auth", "args": [key, expires, sign]})

    async def ask(self, message: Row) -> Row:
        """Sends a request and returns its response; pushes received before it are kept."""
        await self.socket.send_str(json.dumps(message))
        while True:
            answer = await self._receive()
            if "topic" not in answer:
                return answer
            self.kept.append(answer)

    async def _receive(self) -> Row:
        return dict(json.loads(await asyncio.wait_for(self.socket.receive_str(), 10)))

    async def next(self, topic: str = "") -> Row:
        """The next push of a topic."""
        while True:
            push = self.kept.pop(0) if self.kept else await self._receive()
            if not topic or push.get("topic") == topic:
                return push

    async def pushes(self) -> list[Row]:
        """All pending pushes: everything received before the response to a ping."""
        await self.ask({"op": "ping"})
        kept, self.kept = self.kept, []
        return kept


@asynccontextmanager
async def served(
    candles: list[tuple[int, int, int, int]] | None = None,
    *,
    accounts: tuple[str, ...] = (f"{KEY}:{SECRET}:100000",),
    rules: Rules | None = None,
    data: Path | None = None,
    rate_limits: bool = False,
    faults: bool = True,
    path: Walk = "low-first",
    start_ms: int = START_MS,
    wall: Wall | None = None,
    funding_rate: str = "0.0001",
) -> AsyncIterator[Client]:
    """An exchange with a step clock on a free port, and a client for it."""
    setup = Setup(
        rules=rules or Rules(),
        seed=1,
        path=path,
        start_ms=start_ms,
        step_clock=True,
        data=data,
        rate_limits=rate_limits,
        faults=faults,
    )
    exchange = Exchange(market(candles or FLAT, funding_rate), [parse_account(text) for text in accounts], setup)
    wall = wall or Wall()
    app = App(exchange, wall)
    await app.start("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{app.port}") as http:
            yield Client(app, http, wall)
    finally:
        await app.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Waits until a condition holds; fails after ten seconds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)
