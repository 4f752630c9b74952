"""The simulated exchange in-process: its REST interface and its streams, behind a network that loses and delays."""

import asyncio
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
from pybit.exceptions import InvalidRequestError

from alpha.bybit.connection import Timing
from alpha.bybit.endpoints import CREATE_ORDER, TRADING_STOP, Endpoint
from alpha.bybit.retry_policy import ErrorKind, kind_of_status
from alpha.bybit.signing import rest_signature
from alpha.bybit.transport import Answer, Permit, Transport
from alpha.errors import Retry
from exchange_simulator.candles import Candles
from exchange_simulator.engine import price_moves
from exchange_simulator.engine.model import Execution
from exchange_simulator.exchange import Exchange, Setup
from exchange_simulator.faults import Faults
from exchange_simulator.keys import parse_account
from exchange_simulator.market.generator import GeneratedMarket
from exchange_simulator.rest.server import BUILDS, ENDPOINTS, Rest
from exchange_simulator.ws.session import PrivateSession, PublicSession
from tests.simulation.virtual_loop import EPOCH_S, Process, VirtualLoop, current

SYMBOLS = ("BTCUSDT", "ETHUSDT")
#: Business seconds per virtual second: a bar of a minute takes two.
SPEED = 30
ADVANCE_S = 0.5
#: Candles begin so long before a run: what a bot reads at its start costs more than all else, and tells nothing here.
_HISTORY_MS = 30 * 60_000
KEY, SECRET = "key-ss", "secret-of-ss"
_MARKET = GeneratedMarket(7, SYMBOLS)


@dataclass
class Network:
    """How the way to the exchange is. Shares are of requests or of pushed frames."""

    lost_requests: float = 0.0
    lost_answers: float = 0.0
    busy: float = 0.0
    lost_pushes: float = 0.0
    doubled_pushes: float = 0.0
    slow_s: float = 0.1
    refuses: bool = False
    stalls: bool = False


@dataclass
class Accepted:
    """One order that the exchange accepted: who sent it, under which token, when, and what it is."""

    at_s: float
    process: str
    token: int
    body: dict[str, Any]
    #: Symbols that were held before it.
    held: frozenset[str]

    @property
    def opens(self) -> bool:
        """True when it can open or enlarge a position."""
        return not self.body.get("reduceOnly")


class _YoungCandles(Candles):
    """Candles of symbols that were listed a little before the run."""

    oldest_ms = 0

    def _span(self, interval: str, start: int | None, end: int | None, limit: int) -> tuple[int, int]:
        first, last = super()._span(interval, start, end, limit)
        return max(first, self.oldest_ms), last


def moving_exchange(start_ms: int) -> Exchange:
    """An exchange with one account, whose market `Venue.run` moves."""
    keys = (
        parse_account(f"{KEY}:{SECRET}:100000"),
        parse_account(f"{KEY}-reads:{SECRET}-reads:0:of={KEY},read-only"),
    )
    exchange = Exchange(_MARKET, keys, Setup(seed=7, start_ms=start_ms, step_clock=True, rate_limits=False))
    young = _YoungCandles(_MARKET, exchange.timeline)
    young.oldest_ms = start_ms - _HISTORY_MS
    exchange.candles = young
    return exchange


class Venue:
    """The exchange, and every connection to it."""

    def __init__(self, loop: VirtualLoop, draw: random.Random, exchange: Exchange) -> None:
        self.network = Network()
        self.accepted: list[Accepted] = []
        self.on_order: Callable[[Accepted], None] = lambda _: None
        self.process = Process("exchange")
        self.sockets: list[Socket] = []
        self._executions: list[tuple[int, Execution]] = []
        self._loop = loop
        self._draw = draw
        self.start_ms = exchange.setup.start_ms
        self.exchange = exchange
        self.rest = Rest(exchange, Faults(exchange, set), self._wall_ms)
        self.account = exchange.account(exchange.keys[KEY])

    def _wall_ms(self) -> int:
        return int((EPOCH_S + self._loop.now_s) * 1000)

    async def run(self) -> None:
        """Move the market."""
        while True:
            await asyncio.sleep(ADVANCE_S)
            self.exchange.timeline.advance(self.start_ms + int(self._loop.now_s * SPEED * 1000))
            self.exchange.commit()
            self.exchange.save()
            self.exchange.feed.refresh()

    def latency_s(self) -> float:
        """One way."""
        return 0.001 + self._draw.random() * self.network.slow_s

    def executions(self) -> list[Any]:
        """Every execution of the account."""
        if self.exchange.storage.count("executions", self.account.uid) > len(self._executions):
            after = self._executions[-1][0] if self._executions else 0
            self._executions += self.exchange.storage.after("executions", self.account.uid, after, 1_000_000, Execution)
        return [row for _, row in self._executions]

    def jump(self, share: Decimal) -> None:
        """Every price jumps by this share, through every stop in between."""
        engine = self.exchange.engine
        for symbol in SYMBOLS:
            instrument = engine.instruments[symbol]
            ticks = instrument.ticks(engine.books[symbol].last)
            price_moves.move(engine, symbol, instrument.price(ticks + int(ticks * share)))
        self.exchange.commit()

    def stopped(self, symbol: str) -> bool:
        """True when an open stop order closes the position of this symbol."""
        return any(order.stop_order_type == "StopLoss" for order in self.account.by_symbol.get(symbol, {}).values())

    def remove_stop(self, symbol: str) -> None:
        """Somebody takes the stop of a position away by hand."""
        if not any(position.symbol == symbol for position in self.account.held()):
            return
        body = msgspec.json.encode(
            {"category": "linear", "symbol": symbol, "positionIdx": 0, "tpslMode": "Full", "stopLoss": "0"}
        )
        stamp, window = self._wall_ms(), 5_000
        headers = {
            "X-BAPI-API-KEY": KEY,
            "X-BAPI-TIMESTAMP": str(stamp),
            "X-BAPI-RECV-WINDOW": str(window),
            "X-BAPI-SIGN": rest_signature(KEY, SECRET, stamp, window, body.decode()),
        }
        found = self.rest.answer(ENDPOINTS["POST", f"/v5/{TRADING_STOP.path}"], headers, "", body)
        assert found.code in {0, 34040}, found  # 34040: it has none already

    # --- requests --------------------------------------------------------------------------------------------------

    async def request(
        self, process: Process, token: int, path: str, method: str, headers: Mapping[str, str], query: str, body: bytes
    ) -> tuple[int, dict[str, Any]] | str:
        """HTTP status and envelope, or why there is none."""
        network, draw = self.network, self._draw
        # Between signing and sending the process may be frozen.
        await asyncio.sleep(0)
        if network.refuses:
            return "no connection"
        answer: asyncio.Future[tuple[int, dict[str, Any]] | str] = self._loop.create_future()
        lost, unheard = draw.random() < network.lost_requests, draw.random() < network.lost_answers
        busy = draw.random() < network.busy

        def arrive() -> None:
            if lost:
                reply("no answer in time", 5.0)
                return
            if busy:
                reply((200, {"retCode": 10016, "retMsg": "server error", "result": {}}), self.latency_s())
                return
            self._loop.spawn(self.process, self._serve(process, token, path, method, headers, query, body, served))

        def served(found: tuple[int, dict[str, Any]]) -> None:
            if unheard:
                reply("no answer in time", 5.0)
            else:
                reply(found, self.latency_s())

        def reply(found: tuple[int, dict[str, Any]] | str, delay_s: float) -> None:
            self._loop.call_later(delay_s, settle, found, context=self.process.context)

        def settle(found: tuple[int, dict[str, Any]] | str) -> None:
            if not answer.done():
                answer.set_result(found)

        # What has been sent arrives, whatever becomes of the sender.
        self._loop.call_later(self.latency_s(), arrive, context=self.process.context)
        return await answer

    async def _serve(
        self,
        process: Process,
        token: int,
        path: str,
        method: str,
        headers: Mapping[str, str],
        query: str,
        body: bytes,
        served: Callable[[tuple[int, dict[str, Any]]], None],
    ) -> None:
        endpoint = ENDPOINTS[method, path]
        if path in BUILDS:
            await self.rest._build(endpoint, path, query)
        order = None
        if path == f"/v5/{CREATE_ORDER.path}":
            held = {position.symbol for position in self.account.held()}
            order = Accepted(self._loop.now_s, process.name, token, msgspec.json.decode(body), frozenset(held))
        found = self.rest.answer(endpoint, headers, query, body)
        if order is not None and found.code == 0:
            self.accepted.append(order)
            self.on_order(order)
        envelope = {
            "retCode": found.code,
            "retMsg": found.message,
            "result": found.result,
            "retExtInfo": found.extra,
            "time": self.rest.shown_ms,
        }
        # Through text, as over a wire.
        served((200, msgspec.json.decode(msgspec.json.encode(envelope))))

    # --- streams ---------------------------------------------------------------------------------------------------

    async def connect(
        self, url: str, timing: Timing, frame: Callable[[str | bytes], None], lost: Callable[[str], None]
    ) -> "Socket":
        """Open a stream."""
        await asyncio.sleep(self.latency_s())
        if self.network.refuses:
            raise Retry(f"{url} cannot be reached: refused.")
        socket = Socket(self, current(), url.endswith("/private"), frame, lost)
        self.sockets.append(socket)
        return socket

    def cut(self, process: Process | None = None) -> None:
        """Reset the streams of a process, or all."""
        for socket in [one for one in self.sockets if process is None or one.process is process]:
            socket.cut()


class _Wire:
    """Where a session's socket and transport would be."""

    closed = False


class _Private(PrivateSession):
    send: Callable[[bytes], None]

    def _put(self, message: bytes) -> None:
        self.send(message)


class _Public(PublicSession):
    send: Callable[[bytes], None]

    def _put(self, message: bytes) -> None:
        self.send(message)


class Socket:
    """One stream between a process and the exchange, as `alpha.bybit.connection.Socket`."""

    def __init__(
        self,
        venue: Venue,
        process: Process,
        private: bool,
        frame: Callable[[str | bytes], None],
        lost: Callable[[str], None],
    ) -> None:
        self.process = process
        self._venue = venue
        self._loop = venue._loop
        self._frame = frame
        self._lost = lost
        self._context = process.context.copy()
        self._next_s = 0.0
        self._open = True
        wire: Any = _Wire()
        session: _Private | _Public
        if private:
            session = _Private(venue.exchange, wire, 600.0, venue.rest.clocks)
        else:
            session = _Public(venue.exchange, wire, "linear")
        session.send = self._push
        self._session = session

    async def send(self, text: str) -> None:
        """Client to exchange."""
        if not self._open:
            raise Retry("the stream was lost.")
        venue = self._venue
        if not venue.network.stalls:
            self._loop.call_later(venue.latency_s(), self._arrive, text, context=venue.process.context)

    def _arrive(self, text: str) -> None:
        if self._open:
            self._session._take(text)

    def _push(self, message: bytes) -> None:
        """Exchange to client, in order."""
        network, draw = self._venue.network, self._venue._draw
        if not self._open or network.stalls or not self.process.alive:
            return
        text = _text_of(message)
        if '"topic"' in text:
            if draw.random() < network.lost_pushes:
                return
            if draw.random() < network.doubled_pushes:
                self._deliver(text)
        self._deliver(text)

    def _deliver(self, text: str) -> None:
        self._next_s = max(self._next_s + 0.001, self._loop.now_s + self._venue.latency_s())
        self._loop.call_at(self._next_s, self._heard, text, context=self._context)

    def _heard(self, text: str) -> None:
        if self._open:
            self._frame(text)

    def cut(self) -> None:
        """The connection is reset."""
        if self._open:
            self._end()
            self._loop.call_later(0.01, self._lost, "reset by peer", context=self._context)

    def _end(self) -> None:
        self._open = False
        self._session.socket.closed = True  # type: ignore[misc]
        self._session.leave()
        if self in self._venue.sockets:
            self._venue.sockets.remove(self)

    async def close(self) -> None:
        """Close it."""
        if self._open:
            self._end()


def _text_of(message: bytes) -> str:
    size = message[1] & 0x7F
    return message[{126: 4, 127: 10}.get(size, 2) :].decode()


class SimulatedTransport(Transport):
    """The transport of a gateway: signs and reads answers as the product's, and sends over the simulated network."""

    venue: Venue

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._of_thread = threading.local()

    async def send(self, endpoint: Endpoint, params: Mapping[str, object], permit: Permit | None = None) -> Answer:
        """As Transport.send."""
        began = self._now_ms()
        given = {name: value for name, value in params.items() if value is not None}
        query, body = "", b""
        if endpoint.write:
            body = msgspec.json.encode(given)
        else:
            query = "&".join(f"{name}={value}" for name, value in sorted(given.items()))
        headers: dict[str, str] = {}
        if self._key and endpoint.signed:
            self._of_thread.permit = permit
            headers = self._signed_headers(body.decode() or query, self._recv_window_ms)
        token = getattr(getattr(permit.fence, "_lease", permit.fence), "token", 0) if permit is not None else 0
        method, path = "POST" if endpoint.write else "GET", f"/v5/{endpoint.path}"
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await self.venue.request(current(), token, path, method, headers, query, body)
        except TimeoutError:
            return self._failed(ErrorKind.UNKNOWN_OUTCOME, 0, "no answer in time", began)
        if isinstance(found, str):
            kind = ErrorKind.BUSY if found == "no connection" else ErrorKind.UNKNOWN_OUTCOME
            return self._failed(kind, 0, found, began)
        status, envelope = found
        if status != 200:
            return self._failed(kind_of_status(status), status, f"HTTP status {status}", began)
        if envelope["retCode"] != 0:
            code, message = envelope["retCode"], envelope["retMsg"]
            return self._refused(InvalidRequestError("", message, code, "", {}), began)
        return self._understood(envelope, {}, began)

    async def close(self) -> None:
        """Nothing is held."""
