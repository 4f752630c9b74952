"""One WebSocket connection: login and subscriptions confirmed, both pings, a watchdog on any frame."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import msgspec

from alpha.bybit.messages import Answer, Envelope, answer_of, decode
from alpha.bybit.stream_state import StreamState, move
from alpha.bybit.web_socket import WebSocket
from alpha.clock import SYSTEM_CLOCK, Clock
from alpha.errors import Rejected, Retry
from alpha.logs import logger

log = logger(__name__)


class LoginRefused(Rejected):
    """The exchange did not accept the login: the key is wrong, expired, revoked, or the clock is off."""


class SubscriptionRefused(Rejected):
    """The exchange did not accept a subscription that is needed."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Wall-clock limits of a connection, in seconds."""

    connect_s: float = 10.0
    answer_s: float = 5.0
    ping_s: float = 10.0
    silence_s: float = 25.0
    max_age_s: float = 12 * 3_600.0


@dataclass(frozen=True, slots=True)
class Handlers:
    """Who hears of what. All are plain functions and return at once: nothing waits on the reading path.

    `data(envelope, frame)` gets a frame with a topic, `on_malformed(frame, fault)` one that cannot be read. `raw(frame)`, where
    given, sees every frame before it is decoded and returns True for those it has taken.
    """

    data: Callable[[Envelope, str | bytes], None]
    on_malformed: Callable[[str | bytes, str], None]
    raw: Callable[[str | bytes], bool] | None = None


class Socket(Protocol):
    """An open WebSocket that hands over its frames by itself."""

    async def send(self, text: str) -> None:
        """Send one text frame; Retry when the connection is lost."""

    async def close(self) -> None:
        """Close it and free what it holds. Never fails."""


#: Opens a WebSocket: `(url, timing, frame, lost)`. Every frame is passed to `frame`, the end, with its reason, to `lost`.
#: Retry when it cannot be opened.
OpenSocket = Callable[[str, "Timing", Callable[[str | bytes], None], Callable[[str], None]], Awaitable[Socket]]


class Connection:
    """One connection from its opening to its end. Made by `Stream`, which replaces it when it ends."""

    def __init__(
        self,
        url: str,
        handlers: Handlers,
        timing: Timing,
        *,
        login: Callable[[], Sequence[str | int]] | None = None,
        open_socket: OpenSocket = WebSocket.open,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`login` gives the arguments of the `auth` frame at the moment it is sent; None for a public connection."""
        self.state = StreamState.CONNECTING
        self._clock = clock
        self.opened_s = clock.monotonic_s()
        self.last_frame_s = self.opened_s
        self._url = url
        self._handlers = handlers
        self._timing = timing
        self._login = login
        self._faults_logged: set[type[Exception]] = set()
        self._open_socket = open_socket
        self._socket: Socket | None = None
        self._waiting: dict[str, tuple[str, asyncio.Future[Answer]]] = {}
        self._numbers = itertools.count(1)
        self._tasks: list[asyncio.Task[None]] = []
        self._end: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def open(self, topics: Sequence[str]) -> list[str]:
        """Connect, log in, subscribe. Returns the topics that were refused; all others are confirmed.

        Raises LoginRefused, or Retry when the network or the exchange did not serve it.
        """
        try:
            self._socket = await self._open_socket(self._url, self._timing, self._took, self.end)
        except Retry:
            self._close_state()
            raise
        self.last_frame_s = self._clock.monotonic_s()
        self._tasks = [asyncio.create_task(self._beat())]
        if self._login is not None:
            self._advance(StreamState.LOGGING_IN)
            answer = await self._ask("auth", list(self._login()))
            if not answer.accepted:
                raise LoginRefused(f"{self._url} refused the login: {answer.message or 'no reason given'}.")
        self._advance(StreamState.SUBSCRIBING)
        refused = await self.subscribe(topics)
        self._advance(StreamState.LIVE)
        return refused

    async def subscribe(self, topics: Sequence[str]) -> list[str]:
        """Subscribe each topic by itself, because one bad topic rejects a whole request. Returns the refused ones."""
        answers = await asyncio.gather(*(self._ask("subscribe", [topic]) for topic in topics))
        refused = []
        for topic, answer in zip(topics, answers, strict=True):
            # "already subscribed" is what we want
            if not answer.accepted and "already subscribed" not in answer.message:
                log.warning("subscription_refused", topic=topic, message=answer.message)
                refused.append(topic)
        return refused

    async def unsubscribe(self, topics: Sequence[str]) -> None:
        """Stop these topics. A late frame of one is harmless."""
        await asyncio.gather(*(self._ask("unsubscribe", [topic]) for topic in topics))

    async def ended(self) -> str:
        """Wait until the connection has ended; returns why."""
        return await asyncio.shield(self._end)

    def end(self, why: str) -> None:
        """End it now, without waiting for the other side."""
        if not self._end.done():
            self._end.set_result(why)
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(Retry(f"{self._url} ended: {why}."))
        self._waiting.clear()
        self._close_state()

    async def close(self) -> None:
        """End it and free what it holds."""
        self.end("closed by us")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()

    def _advance(self, state: StreamState) -> None:
        """The next state; Retry when the connection has ended in the meantime."""
        if self._end.done():
            raise Retry(f"{self._url} ended: {self._end.result()}.")
        self.state = move(self.state, state)

    def _close_state(self) -> None:
        if self.state is not StreamState.CLOSED:
            self.state = move(self.state, StreamState.CLOSED)

    async def _ask(self, op: str, args: Sequence[str | int]) -> Answer:
        req_id = f"{op[0]}{next(self._numbers)}"
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[req_id] = (op, future)
        try:
            await self._send({"req_id": req_id, "op": op, "args": list(args)})
            async with asyncio.timeout(self._timing.answer_s):
                return await future
        except TimeoutError:
            raise Retry(f"{self._url} did not answer {op} within {self._timing.answer_s:g} s.") from None
        finally:
            self._waiting.pop(req_id, None)

    async def _send(self, message: dict[str, object]) -> None:
        if self._socket is None or self._end.done():
            raise Retry(f"{self._url} is not connected.")
        await self._socket.send(msgspec.json.encode(message).decode())

    def _took(self, frame: str | bytes) -> None:
        """One frame. A fault of ours outside the handler of data must never stop the reading in silence: it ends the connection."""
        self.last_frame_s = self._clock.monotonic_s()
        try:
            if self._handlers.raw is not None and self._taken_raw(self._handlers.raw, frame):
                return
            try:
                envelope = decode(frame)
            except Rejected as fault:
                self._handlers.on_malformed(frame, str(fault))
                return
            if envelope.topic:
                self._handle(envelope, frame)
            else:
                self._answered(answer_of(envelope))
        except Exception as fault:
            log.exception("reader_fault", url=self._url)
            self.end(f"internal error while reading: {type(fault).__name__}")

    def _taken_raw(self, raw: Callable[[str | bytes], bool], frame: str | bytes) -> bool:
        try:
            return raw(frame)
        except Exception as fault:  # noqa: BLE001 - logged there, once per kind
            self._handler_failed(fault, frame, "")
            return True

    def _handle(self, envelope: Envelope, frame: str | bytes) -> None:
        try:
            self._handlers.data(envelope, frame)
        except Exception as fault:  # noqa: BLE001 - logged there, once per kind
            self._handler_failed(fault, frame, envelope.topic)

    def _handler_failed(self, fault: Exception, frame: str | bytes, topic: str) -> None:
        """One message that we cannot cope with must not end the connection of all symbols. Call it while the fault is handled."""
        if type(fault) not in self._faults_logged:
            self._faults_logged.add(type(fault))
            log.exception("handler_fault", url=self._url, topic=topic)
        self._handlers.on_malformed(frame, f"Internal error: {type(fault).__name__}: {fault}")

    def _answered(self, answer: Answer | None) -> None:
        if answer is None:
            return
        found = self._waiting.get(answer.req_id)
        if found is None:
            # some hosts do not echo the id: the oldest request of this kind is meant
            found = next((entry for entry in self._waiting.values() if entry[0] == answer.op), None)
        if found is not None and not found[1].done():
            found[1].set_result(answer)

    async def _beat(self) -> None:
        """Send pings and end the connection when nothing at all has come for too long."""
        step = min(self._timing.ping_s, self._timing.silence_s / 4)
        next_ping = 0.0
        while not self._end.done():
            now = self._clock.monotonic_s()
            if now - self.last_frame_s > self._timing.silence_s:
                self.end(f"silent for {now - self.last_frame_s:.1f} s")
                return
            if now >= next_ping:
                next_ping = now + self._timing.ping_s
                with suppress(Retry):
                    await self._send({"req_id": f"p{next(self._numbers)}", "op": "ping"})
            await self._clock.sleep(step)
