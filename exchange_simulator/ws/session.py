"""One WebSocket connection: login, subscriptions, pings, and an outgoing queue that never blocks the exchange."""

import asyncio
import hmac
import itertools
import re
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from exchange_simulator.engine.model import Refused
from exchange_simulator.exchange import Exchange
from exchange_simulator.keys import Key, usable
from exchange_simulator.rest.args import digits
from exchange_simulator.rest.clocks import Clocks
from exchange_simulator.ws.hub import CATEGORIES, CATEGORISED, PRIVATE_TOPICS, base_topic, encode
from exchange_simulator.ws.public_feed import BOOK_DEPTHS

STATUS = "misc/status"  # path after /v5/public/, in place of a category
QUEUE_FRAMES = 50_000
IDLE_S = 600.0
MOST_CHARACTERS = 21_000  # total length of the topics of one connection
CHUNK_BYTES = 256 * 1024
BACKLOG_S = 0.005  # polling interval for a slow reader's backlog
# Subscriptions are acknowledged after a short delay, as over a network: some clients register a subscription only after
# sending it, and break when the acknowledgement comes first.
SUBSCRIBE_DELAY_S = 0.05
KLINE_TOPIC = re.compile(r'"kline\.([0-9DWM]+)\.([0-9A-Z]+)"')
_numbers = itertools.count(1)


class Session(ABC):
    """A connected client. Subclasses define the available topics."""

    kind = ""

    def __init__(self, exchange: Exchange, socket: web.WebSocketResponse, idle_s: float = IDLE_S) -> None:
        self.exchange = exchange
        self.socket = socket
        self.idle_s = idle_s
        self.transport: asyncio.Transport | None = None
        self.host = ""  # host name the client connected to
        self.address = ""  # where the client connects from
        self.conn_id = f"sim-{next(_numbers)}-{self.kind[:1]}"
        self.topics: dict[str, None] = {}
        self.key: Key | None = None
        self.silent = False
        self.refusing: frozenset[str] = frozenset()
        self._queue: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self.filters: Callable[[Session, str, bytes], list[bytes]] | None = None
        self.logged_in: Callable[[Session], None] = lambda session: None

    # --- out ----------------------------------------------------------------------------------------------------

    def push(self, topic: str, message: bytes) -> None:
        """Queues a push. A client that does not read is disconnected once its queue is full."""
        if self.silent:
            return
        if self.filters is not None:
            for part in self.filters(self, topic, message):
                self._put(part)
        else:
            self._put(message)

    def push_raw(self, message: bytes) -> None:
        """Queues a frame, bypassing all filters."""
        self._put(message)

    def _put(self, message: bytes) -> None:
        if len(self._queue) >= QUEUE_FRAMES:
            self._closing = True
        self._queue.append(message)
        self._wake.set()

    def reply(self, message: dict[str, Any]) -> None:
        """Queues a response to the client's request."""
        if not self.silent:
            self._put(encode(message))

    async def _write(self) -> None:
        """Sends queued frames in batches, as fast as the client reads them."""
        queue = self._queue
        while not self._closing:
            if not queue or self.transport is None:
                self._wake.clear()
                await self._wake.wait()
            elif self.silent:
                queue.clear()
            elif self.transport.get_write_buffer_size() > CHUNK_BYTES:
                await asyncio.sleep(BACKLOG_S)
            else:
                parts, size = [], 0
                while queue and size < CHUNK_BYTES:
                    parts.append(queue.popleft())
                    size += len(parts[-1])
                self.transport.write(b"".join(parts))
        self.abort()

    def abort(self) -> None:
        """Cuts the TCP connection without a closing handshake."""
        if self.transport is not None:
            self.transport.abort()

    async def close(self) -> None:
        """Closes the connection with a closing handshake."""
        await self.socket.close()

    # --- in -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serves the connection until it ends."""
        writer = asyncio.create_task(self._write())
        try:
            while True:
                async with asyncio.timeout(self.idle_s):
                    message = await self.socket.receive()
                if message.type == WSMsgType.TEXT:
                    self._take(message.data)
                elif message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                    break
        except (TimeoutError, ConnectionError):
            await self.socket.close()
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            self.leave()

    def _take(self, raw: str) -> None:
        """Handles a frame; subscriptions after their delay, in order."""
        if '"subscribe"' in raw or '"unsubscribe"' in raw:
            asyncio.get_running_loop().call_later(SUBSCRIBE_DELAY_S, self._handle_late, raw)
        else:
            self._handle(raw)

    def _handle_late(self, raw: str) -> None:
        if not self.socket.closed:
            self._handle(raw)

    def _handle(self, raw: str) -> None:
        try:
            message = msgspec.json.decode(raw)
        except msgspec.DecodeError:
            message = None
        if not isinstance(message, dict):
            self._fail("", None, "Params Error")
            return
        op, req_id = str(message.get("op", "")), message.get("req_id")
        args = message.get("args")
        if op == "ping":
            self._pong(req_id)
        elif op == "auth":
            self._auth(req_id, args if isinstance(args, list) else [])
        elif op in ("subscribe", "unsubscribe"):
            topics = [str(topic) for topic in args] if isinstance(args, list) else []
            self._change(op, req_id, topics)
        else:
            self._fail(op, req_id, f"error:request op:{op} is not supported")

    def _answer(self, op: str, req_id: Any, success: bool, text: str) -> dict[str, Any]:
        message: dict[str, Any] = {"success": success, "ret_msg": text, "op": op, "conn_id": self.conn_id}
        if req_id is not None:
            message["req_id"] = req_id
        return message

    def _fail(self, op: str, req_id: Any, text: str) -> None:
        self.reply(self._answer(op, req_id, success=False, text=text))

    @abstractmethod
    def _pong(self, req_id: Any) -> None:
        """Answers an application-level ping, `{"op":"ping"}`."""

    def _auth(self, req_id: Any, args: list[Any]) -> None:
        self._fail("auth", req_id, "error:request op:auth is not supported")

    @abstractmethod
    def _check_topic(self, topic: str) -> str:
        """The error of a topic; "" when it is valid."""

    @abstractmethod
    def _join(self, topic: str) -> None:
        """Starts the pushes of a topic."""

    @abstractmethod
    def _leave(self, topic: str) -> None:
        """Stops the pushes of a topic."""

    def _change(self, op: str, req_id: Any, topics: list[str]) -> None:
        problem = self._problem(op, topics)
        if problem:
            self._fail(op, req_id, problem)
            return
        self.reply(self._answer(op, req_id, success=True, text=""))
        for topic in topics:
            if op == "subscribe":
                self.topics[topic] = None
                self._join(topic)
            elif topic in self.topics:
                del self.topics[topic]
                self._leave(topic)

    def _problem(self, op: str, topics: list[str]) -> str:
        """The first error in a request; it invalidates all of its topics."""
        if not topics:
            return "Params Error"
        if op == "subscribe" and sum(map(len, (*self.topics, *topics))) > MOST_CHARACTERS:
            return f"error:the args of a connection exceed {MOST_CHARACTERS} characters"
        for topic in topics:
            problem = self._check_topic(topic)
            if problem:
                return problem
            if op == "subscribe" and topic in self.topics:
                return f"error:already subscribed,topic:{topic}"
        return ""

    def leave(self) -> None:
        """Ends every subscription."""
        for topic in self.topics:
            self._leave(topic)
        self.topics.clear()


class PrivateSession(Session):
    """`/v5/private`."""

    kind = "private"

    def __init__(self, exchange: Exchange, socket: web.WebSocketResponse, idle_s: float, clocks: Clocks) -> None:
        super().__init__(exchange, socket, idle_s)
        self.clocks = clocks

    def _pong(self, req_id: Any) -> None:
        message: dict[str, Any] = {"op": "pong", "args": [str(time.time_ns() // 1_000_000)], "conn_id": self.conn_id}
        if req_id is not None:
            message = {"req_id": req_id, **message}
        self.reply(message)

    def _auth(self, req_id: Any, args: list[Any]) -> None:
        try:
            key = self._login(args)
            if self.key is not None and self.key.uid != key.uid:  # subscriptions belong to the first one
                raise Refused(10001, "Params Error")
        except Refused as refusal:
            self._fail("auth", req_id, refusal.message)
            return
        self.key = key
        self.logged_in(self)
        self.reply(self._answer("auth", req_id, success=True, text=""))

    def _login(self, args: list[Any]) -> Key:
        if "refuse-login" in self.refusing or len(args) != 3:
            raise Refused(10001, "Params Error")
        api_key, expires, sign = str(args[0]), str(args[1]), str(args[2])
        key = self.exchange.keys.get(api_key)
        try:
            key = usable(key, self.exchange.now_ms, self.address, self.host)
        except Refused:
            raise Refused(10001, "Invalid API key") from None
        expires_ms = digits(expires)
        if expires_ms is None or not self.clocks.in_future(api_key, expires_ms):
            raise Refused(10001, "Params Error")
        expected = hmac.new(key.secret.encode(), f"GET/realtime{expires}".encode(), sha256).hexdigest()
        if not hmac.compare_digest(expected, sign):
            raise Refused(10001, "Invalid sign")
        return key

    def _check_topic(self, topic: str) -> str:
        if self.key is None:
            return f"error:topic:{topic} needs auth first"
        base = base_topic(topic)
        if "refuse-subscription" in self.refusing or (base not in PRIVATE_TOPICS and not topic.startswith("dcp.")):
            return f"error:handler not found,topic:{topic}"
        return ""

    def _problem(self, op: str, topics: list[str]) -> str:
        problem = super()._problem(op, topics)
        if problem or op == "unsubscribe":
            return problem
        held = {*self.topics, *topics}
        for base in CATEGORISED:
            if base in held and any(f"{base}.{category}" in held for category in CATEGORIES):
                return f"error:topic:{base} and its categorised forms cannot be subscribed together"
        return ""

    def _join(self, topic: str) -> None:
        if self.key is not None:
            self.exchange.hub.join_private(self.key.uid, topic, self)

    def _leave(self, topic: str) -> None:
        if self.key is not None:
            self.exchange.hub.leave_private(self.key.uid, topic, self)


class PublicSession(Session):
    """`/v5/public/linear`; other categories are accepted but have no topics."""

    kind = "public"

    def __init__(
        self, exchange: Exchange, socket: web.WebSocketResponse, category: str, idle_s: float = IDLE_S
    ) -> None:
        super().__init__(exchange, socket, idle_s)
        self.category = category
        self._order = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def _handle_late(self, raw: str) -> None:
        """Delays subscriptions to long candles until their history is generated; later ones queue behind them."""
        if '"kline.' not in raw and not self._order.locked():
            super()._handle_late(raw)
            return
        task = asyncio.get_running_loop().create_task(self._handle_built(raw))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handle_built(self, raw: str) -> None:
        async with self._order:
            for interval, symbol in KLINE_TOPIC.findall(raw)[:MOST_CHARACTERS]:
                await self.exchange.builder.build(self.exchange.candles.build(symbol, interval, None, None, 1))
            super()._handle_late(raw)

    def _pong(self, req_id: Any) -> None:
        message = {"success": True, "ret_msg": "pong", "conn_id": self.conn_id, "op": "ping"}
        if self.category == "option":
            message = {"args": [str(time.time_ns() // 1_000_000)], "op": "pong"}
        if req_id is not None:
            message["req_id"] = req_id
        self.reply(message)

    def _check_topic(self, topic: str) -> str:
        unknown = f"error:handler not found,topic:{topic}"
        if self.category == STATUS:
            return "" if topic == "system.status" else unknown
        if self.category != "linear" or "refuse-subscription" in self.refusing:
            return unknown
        parts = topic.split(".")
        symbol = parts[-1]
        if len(parts) == 2 and parts[0] == "adlAlert" and symbol in ("USDT", "USDC"):
            return ""
        if symbol not in self.exchange.market.instruments:
            return unknown
        if len(parts) == 2 and parts[0] in ("tickers", "publicTrade", "allLiquidation"):
            return ""
        if len(parts) == 3 and parts[0] == "kline":
            try:
                self.exchange.candles.check(parts[1])
            except Refused:
                return unknown
            return ""
        if len(parts) == 3 and parts[0] == "orderbook" and parts[1] in map(str, BOOK_DEPTHS):
            return ""
        return unknown

    def _join(self, topic: str) -> None:
        first = self.exchange.feed.first(topic)
        if first is not None:
            self.push(topic, encode(first))
        self.exchange.hub.join_public(topic, self)

    def _leave(self, topic: str) -> None:
        self.exchange.hub.leave_public(topic, self)
