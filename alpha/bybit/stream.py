"""A stream that stays: connections one after another, with back-off, within the exchange's connection limits."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from alpha.bybit.connect_budget import ConnectBudget
from alpha.bybit.connection import (
    Connection,
    Handlers,
    LoginRefused,
    OpenSocket,
    SubscriptionRefused,
    Timing,
)
from alpha.bybit.stream_state import StreamState
from alpha.bybit.web_socket import WebSocket
from alpha.clock import SYSTEM_CLOCK, Backoff, Clock
from alpha.errors import Retry
from alpha.logs import logger

log = logger(__name__)


BACKOFF = Backoff(0.25, 30.0)
OPEN_SOCKET: OpenSocket = WebSocket.open
#: The shortest range of pauses after a refused login or subscription, in seconds.
REFUSED_PAUSE_S = 5.0


@dataclass(frozen=True, slots=True)
class Watch:
    """Who hears of a stream's life: `up` when it is live, `down(why)` when it is not, `refused(why)` for a login or
    subscription that the exchange does not accept."""

    up: Callable[[], None]
    down: Callable[[str], None]
    refused: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Connecting:
    """How connections are opened and kept: `refused_pause_s` is the shortest range of pauses after a refused login."""

    timing: Timing
    budget: ConnectBudget
    backoff: Backoff = BACKOFF
    refused_pause_s: float = REFUSED_PAUSE_S
    clock: Clock = SYSTEM_CLOCK
    #: None: the WebSocket client of this library.
    open_socket: OpenSocket | None = None


@dataclass(frozen=True, slots=True)
class StreamAccount:
    """The account of a private stream: its login, made anew for each connection, and whether it has positions.

    One that has is connected before those that have none.
    """

    login: Callable[[], Sequence[str | int]] | None = None
    holds: Callable[[], bool] = lambda: False


PUBLIC = StreamAccount()


class Stream:
    """Keeps one connection live. `all_topics_needed`: a refused topic makes the whole connection useless."""

    def __init__(
        self,
        name: str,
        url: str,
        handlers: Handlers,
        watch: Watch,
        connecting: Connecting,
        *,
        topics: Iterable[str] = (),
        all_topics_needed: bool = True,
        account: StreamAccount = PUBLIC,
    ) -> None:
        self._holds = account.holds
        self.name = name
        self.reconnects = 0
        self.replaced = 0
        self._url = url
        self._handlers = handlers
        self._watch = watch
        self._timing = connecting.timing
        self._budget = connecting.budget
        self._backoff = connecting.backoff
        self._refused_pause_s = connecting.refused_pause_s
        self._login = account.login
        self._needed = all_topics_needed
        self._clock = connecting.clock
        self._open_socket = connecting.open_socket or OPEN_SOCKET
        self._topics: set[str] = set(topics)
        self._confirmed: set[str] = set()
        self._renewed: set[str] = set()
        self._current: Connection | None = None
        self._topics_changed = asyncio.Event()

    @property
    def live(self) -> bool:
        """True while login and subscriptions are confirmed and the connection stands."""
        return self._current is not None and self._current.state is StreamState.LIVE

    @property
    def state(self) -> StreamState:
        """The state of the current connection; CLOSED between two."""
        return StreamState.CLOSED if self._current is None else self._current.state

    @property
    def confirmed(self) -> frozenset[str]:
        """The topics that the current connection has confirmed; none between two connections."""
        return frozenset(self._confirmed) if self.live else frozenset()

    def renew(self, topic: str) -> None:
        """Subscribe this topic anew, because its next snapshot is needed."""
        self._renewed.add(topic)
        self._topics_changed.set()

    def set_topics(self, topics: Iterable[str]) -> None:
        """From now on exactly these topics."""
        wanted = set(topics)
        if wanted != self._topics:
            self._topics = wanted
            self._topics_changed.set()

    def replace(self, why: str) -> None:
        """End the current connection, because it is not to be trusted; a new one follows."""
        if self._current is not None:
            self._current.end(why)

    async def run(self) -> None:
        """Keep the stream live until cancelled."""
        failures = 0
        try:
            while True:
                refused = False
                began = self._clock.monotonic_s()
                try:
                    connection = await self._open()
                except (LoginRefused, SubscriptionRefused) as fault:
                    refused = True
                    self._watch.refused(str(fault))
                except Retry as fault:
                    log.info("stream_not_opened", stream=self.name, why=str(fault))
                else:
                    began = self._clock.monotonic_s()
                    await self._serve(connection)
                # a connection that stood for a while starts the back-off anew
                failures = 1 if self._clock.monotonic_s() - began > self._timing.silence_s else failures + 1
                self.reconnects += 1
                least_s = self._refused_pause_s if refused else 0.0
                await self._clock.sleep(self._backoff.pause_s(failures, self._clock.random(), least_s=least_s))
        finally:
            if self._current is not None:
                await self._current.close()

    async def _open(self) -> Connection:
        await self._budget.take(holds=self._holds())
        connection = Connection(
            self._url, self._handlers, self._timing, login=self._login, open_socket=self._open_socket, clock=self._clock
        )
        topics = sorted(self._topics)
        try:
            refused = await connection.open(topics)
            if refused and self._needed:
                raise SubscriptionRefused(f"{self._url} refused to subscribe {', '.join(refused)}.")
        except BaseException:
            await connection.close()
            raise
        self._confirmed = set(topics) - set(refused)
        return connection

    async def _serve(self, connection: Connection) -> None:
        """Use the connection until it ends. One that grows old is replaced without a gap."""
        self._current = connection
        log.info("stream_live", stream=self.name)
        self._watch.up()
        ended = asyncio.create_task(connection.ended())
        replace_at_s = connection.opened_s + self._timing.max_age_s
        try:
            while True:
                changed = asyncio.create_task(self._topics_changed.wait())
                left_s = max(0.0, replace_at_s - self._clock.monotonic_s())
                try:
                    await asyncio.wait({ended, changed}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
                if ended.done():
                    break
                if self._topics_changed.is_set():
                    self._topics_changed.clear()
                    await self._change_topics(connection)
                if self._clock.monotonic_s() >= replace_at_s:
                    newer = await self._successor(connection)
                    if newer is None:
                        replace_at_s = self._clock.monotonic_s() + self._backoff.most_s * (
                            0.5 + self._clock.random() / 2
                        )
                        continue
                    ended.cancel()
                    connection = self._current = newer
                    ended = asyncio.create_task(connection.ended())
                    replace_at_s = connection.opened_s + self._timing.max_age_s
        except Retry as fault:
            connection.end(str(fault))
        finally:
            ended.cancel()
            self._current = None
            why = await connection.ended() if connection.state is StreamState.CLOSED else "closed by us"
            await connection.close()
            log.info("stream_down", stream=self.name, why=why)
            self._watch.down(why)

    async def _change_topics(self, connection: Connection) -> None:
        renewed, self._renewed = self._renewed & self._confirmed, set()
        gone = sorted((self._confirmed - self._topics) | renewed)
        if gone:
            self._confirmed -= set(gone)
            await connection.unsubscribe(gone)
        added = sorted(self._topics - self._confirmed)
        if added:
            refused = await connection.subscribe(added)
            self._confirmed |= set(added) - set(refused)

    async def _successor(self, old: Connection) -> Connection | None:
        """A new connection, live, before the old one is closed; None when it could not be had now."""
        try:
            newer = await self._open()
        except (Retry, LoginRefused, SubscriptionRefused) as fault:
            log.info("stream_not_replaced", stream=self.name, why=str(fault))
            return None
        await old.close()
        self.replaced += 1
        log.info("stream_replaced", stream=self.name)
        return newer
