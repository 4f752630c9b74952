"""The exchange as a server: REST, WebSocket streams and the control API on one port."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from aiohttp import web

from exchange_simulator.clock import FreeClock, StepClock
from exchange_simulator.control import Control
from exchange_simulator.exchange import Exchange
from exchange_simulator.faults import Faults
from exchange_simulator.live import LiveClock
from exchange_simulator.market.model import LiveMarket
from exchange_simulator.rest.args import digits
from exchange_simulator.rest.server import Rest, wall_ms
from exchange_simulator.ws.session import IDLE_S, STATUS, PrivateSession, PublicSession, Session
from exchange_simulator.ws.trade import TradeSession

CATEGORIES = ("linear", "inverse", "spot", "option")
CLOSE_S = 1.0  # time clients have to answer a close frame
MAX_FRAME = 4 * 1024 * 1024


class App:
    """One exchange listening on one port."""

    def __init__(self, exchange: Exchange, wall: Callable[[], int] = wall_ms) -> None:
        self.exchange = exchange
        self.sessions: set[Session] = set()
        self.faults = Faults(exchange, lambda: self.sessions)
        self.rest = Rest(exchange, self.faults, wall)
        self.step = StepClock(exchange) if exchange.setup.step_clock else None
        self.live = LiveClock(exchange, exchange.market) if isinstance(exchange.market, LiveMarket) else None
        self.free = None if exchange.setup.step_clock or self.live is not None else FreeClock(exchange)
        if self.free is not None:
            free = self.free
            self.rest.speed = lambda: free.speed
        self.control = Control(
            exchange, self.step, self.free, self.rest.limits, self.faults if exchange.setup.faults else None
        )
        exchange.maintenance.cut = self._cut_streams
        self._runner: web.ServerRunner | None = None
        self._clock_task: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Starts listening and starts the clock. Raises `OSError` when the port is in use."""
        server = web.Server(self._handle, access_log=None)
        self._runner = web.ServerRunner(server, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, backlog=1024)
        try:
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        self.port = int(self._runner.addresses[0][1])
        clock = self.live or self.free
        if clock is not None:
            self._clock_task = asyncio.create_task(clock.run())

    async def wait(self) -> None:
        """Never returns: raises the clock's error when the clock fails, waits on after the end of the market."""
        if self._clock_task is not None:
            await self._clock_task
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """Stops the clock, closes connections and storage."""
        if self._clock_task is not None:
            self._clock_task.cancel()
            with suppress(asyncio.CancelledError):
                await self._clock_task
        if self.sessions:
            closing = [asyncio.create_task(session.close()) for session in self.sessions]
            await asyncio.wait(closing, timeout=CLOSE_S)
            for session in self.sessions:
                session.abort()
        if self._runner is not None:
            await self._runner.cleanup()
        self.exchange.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        if path.startswith("/_sim/"):
            return await self.control.handle(request)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._stream(request, path)
        return await self.rest.handle(request)

    def _cut_streams(self) -> None:
        """Cuts every stream at the start of a maintenance, except those that announce it."""
        for session in self.sessions:
            if not (isinstance(session, PublicSession) and session.category == STATUS):
                session.abort()

    def _open(self, address: str, category: str) -> int:
        """Number of public streams that an IP address has open in a category."""
        return sum(
            isinstance(session, PublicSession) and session.address == address and session.category == category
            for session in self.sessions
        )

    async def _stream(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        category = path.removeprefix("/v5/public/")
        if path not in ("/v5/private", "/v5/trade") and category not in (*CATEGORIES, STATUS):
            return web.Response(status=404, text=f"{path} is not a stream of this exchange")
        address = request.remote or ""
        if not self.rest.limits.connect(address, self._open(address, category)):
            return web.Response(status=403, text="too many connections")
        closed = self.exchange.maintenance.closed and category != STATUS
        if closed or self.faults.refuses_connection("public" if path.startswith("/v5/public/") else "private"):
            return web.Response(status=503, text="no new connections for the moment")
        socket = web.WebSocketResponse(autoping=True, max_msg_size=MAX_FRAME, compress=False)
        await socket.prepare(request)
        session: Session
        if path == "/v5/private":
            session = PrivateSession(self.exchange, socket, _idle_seconds(request), self.rest.clocks)
        elif path == "/v5/trade":
            session = TradeSession(self.rest, socket, _idle_seconds(request))
        else:
            session = PublicSession(self.exchange, socket, category)
        self.sessions.add(session)
        session.transport = request.transport
        session.address = address
        session.host = request.host
        session.logged_in = self.faults.touch
        self.faults.touch(session)
        try:
            await session.run()
        finally:
            self.sessions.discard(session)
            self.faults.forget(session)
        return socket


def _idle_seconds(request: web.BaseRequest) -> float:
    """`max_active_time` from the URL, `30s` to `600s` or `1m` to `10m`; ten minutes by default."""
    return active_seconds(request.query.get("max_active_time", ""))


def active_seconds(text: str) -> float:
    """Idle timeout in seconds: `text` in seconds or minutes, from 30 s to 10 min; 10 min for any other text."""
    number, unit = digits(text[:-1]), text[-1:]
    if number is None or unit not in ("s", "m"):
        return IDLE_S
    return min(max(number * (60.0 if unit == "m" else 1), 30.0), IDLE_S)
