"""One listener: a second one waits, and takes over at once when the first has ended, however it ended.

Two would tell readers everything twice, and both would append to the lists of candles. The lease is a session lock of
PostgreSQL on a connection of its own: it goes with the connection, so a killed process holds nobody up. While
PostgreSQL is away the holder goes on, for nobody can take the lease then; when it is back and another listener was
faster, this one ends.
"""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from alpha.config.services import DatabaseSettings
from alpha.errors import AlphaError, Fatal
from alpha.logs import logger
from alpha.postgres.database import POSTGRES_ERRORS, Connection, connect

log = logger(__name__)

#: The key of our advisory lock, in its two halves.
_LOCK = (0x4C53, 1)
_LOOK_S = 2.0
_AGAIN_S = 0.25
_ANSWER_S = 5.0
_MOST_LOOKS = 80
#: Who waits for so long says so: perhaps nobody listens for some bot.
_SAY_AFTER_S = 30.0
#: A connection whose other end has gone without a word is given up by the server after about half a minute.
_KEEPALIVE = (
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; "
    "SET idle_session_timeout = 0"
)
_TAKE = "SELECT pg_try_advisory_lock($1, $2)"
_HOLDER = """
SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.classid = $1 AND l.objid = $2
"""
#: Sessions of this very process that a broken connection has left behind: they hold what is ours.
_END_OLD = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND pid <> pg_backend_pid()"
)


class LeaseLost(Fatal):
    """Another listener listens now: two would tell readers everything twice."""


class Lease:
    """The right to listen. `take` waits for it, `keep` holds it, `confirm` makes sure of it."""

    def __init__(self, settings: DatabaseSettings, waits: Callable[[str], Awaitable[None]] | None = None) -> None:
        """`waits(holder)` is called once when another listener has had it for long; `holder` is its host and process."""
        self.waiting_since_s: float | None = None
        #: Since when PostgreSQL has not answered, on the monotonic clock; None while it does.
        self.away_since_s: float | None = None
        self._settings = settings
        self._waits = waits
        # PostgreSQL cuts a name after 63 characters
        host = f"{socket.gethostname()[:20]}:{os.getpid()}"
        self._name = f"websocket_listener lease {host} {secrets.token_hex(4)}"
        self._connection: Connection | None = None
        self._looking = asyncio.Lock()

    async def take(self, stop: asyncio.Event) -> bool:
        """Wait until no other listener listens; False when `stop` was set before."""
        said = False
        while not stop.is_set():
            try:
                if await self._try():
                    self.waiting_since_s = None
                    return True
                if self.waiting_since_s is None:
                    self.waiting_since_s = time.monotonic()
                    log.warning("another_listener", holder=await self._holder(), what="waits until it has ended")
                elif not said and time.monotonic() - self.waiting_since_s > _SAY_AFTER_S and self._waits is not None:
                    said = True
                    await self._waits(await self._holder())
            except (AlphaError, *POSTGRES_ERRORS) as fault:
                log.info("lease_not_asked", why=f"{type(fault).__name__}: {fault}"[:200])
                await self._let_go()
            with suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN_S):
                    await stop.wait()
        return False

    async def keep(self) -> None:
        """Hold it until cancelled. Raises LeaseLost when another listener has it."""
        while True:
            await asyncio.sleep(_LOOK_S)
            await self._look()

    async def confirm(self) -> None:
        """Return once it is certain that the lease is ours: not while PostgreSQL is away, never when it is another's."""
        while True:
            with suppress(LeaseLost):  # `keep` ends the process
                if await self._look():
                    return
            await asyncio.sleep(_AGAIN_S)

    async def give_back(self) -> None:
        """Let the next listener have it."""
        await self._let_go()

    async def _look(self) -> bool:
        """Is it ours? False while PostgreSQL is away; LeaseLost when it is another's."""
        async with self._looking:
            try:
                if self._connection is not None:
                    await self._connection.fetchval("SELECT 1", timeout=_ANSWER_S)
                    self.away_since_s = None
                    return True
                ours = await self._try()
                self.away_since_s = None
                if ours:
                    log.info("lease_taken_again")
                    return True
                await self._end_old_sessions()
                if await self._try():
                    return True
                holder = await self._holder()
            except (AlphaError, *POSTGRES_ERRORS):
                if self.away_since_s is None:
                    self.away_since_s = time.monotonic()
                await self._let_go()
                return False
            await self._let_go()
            raise LeaseLost(
                f"Another listener ({holder}) has taken over while PostgreSQL was away; this one ends. Run one listener."
            )

    async def _try(self) -> bool:
        connection = self._connection
        if connection is None:
            connection = self._connection = await connect(self._settings, self._name)
            await connection.execute(_KEEPALIVE, timeout=_ANSWER_S)
        return bool(await connection.fetchval(_TAKE, *_LOCK, timeout=_ANSWER_S))

    async def _holder(self) -> str:
        """Host and process of whoever has it."""
        if self._connection is None:
            return "unknown"
        name: str | None = await self._connection.fetchval(_HOLDER, *_LOCK, timeout=_ANSWER_S)
        return "unknown" if name is None else name.removeprefix("websocket_listener lease ").split()[0]

    async def _end_old_sessions(self) -> None:
        """Until none is left: what holds the lock after that is another listener's."""
        if self._connection is None:
            return
        for _ in range(_MOST_LOOKS):
            if not await self._connection.fetch(_END_OLD, self._name, timeout=_ANSWER_S):
                return
            await asyncio.sleep(_AGAIN_S)

    async def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*POSTGRES_ERRORS):
                connection.terminate()
