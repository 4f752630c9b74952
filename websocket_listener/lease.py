"""One listener a bot: a second one waits, and takes over at once when the first has ended, however it ended.

The lease is a session lock of PostgreSQL on a connection of its own, one for each bot: it goes with the connection, so a
killed process holds nobody up. While PostgreSQL is away the holder goes on, for nobody can take the lease then; when it
is back and another listener was faster, this one ends.
"""

import asyncio
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress

from alpha.db.pool import Connection, connect
from alpha.errors import AlphaError, Fatal
from alpha.logs import logger
from alpha.settings import DatabaseSettings
from websocket_listener.store import DATABASE_FAULTS

log = logger(__name__)

#: The class of our advisory locks; the object is the hash of the bot's name.
LOCK_CLASS = 0x4C53
_LOOK_S = 2.0
_AGAIN_S = 0.25
_ANSWER_S = 5.0
_MOST_LOOKS = 80
#: A connection whose other end has gone without a word is given up by the server after about half a minute.
_KEEPALIVE = (
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; "
    "SET idle_session_timeout = 0"
)
_TAKE = "SELECT pg_try_advisory_lock($1, hashtext($2))"
#: Sessions of this very process that a broken connection has left behind: they hold what is ours.
_END_OLD = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND pid <> pg_backend_pid()"
)


class LeaseLost(Fatal):
    """Another listener listens for our bots now: two would tell readers everything twice."""


class Lease:
    """The right to listen for these bots. `take` waits for it, `keep` holds it, `confirm` makes sure of it."""

    def __init__(self, settings: DatabaseSettings, bots: Iterable[str]) -> None:
        self.waiting_since_s: float | None = None
        self._settings = settings
        self._bots = sorted(bots)
        self._name = f"websocket_listener lease {secrets.token_hex(6)}"
        self._connection: Connection | None = None
        self._looking = asyncio.Lock()

    async def take(self, stop: asyncio.Event) -> bool:
        """Wait until no other listener listens for one of the bots; False when `stop` was set before."""
        while not stop.is_set():
            try:
                if await self._try():
                    self.waiting_since_s = None
                    return True
                if self.waiting_since_s is None:
                    self.waiting_since_s = time.monotonic()
                    log.warning("another_listener", bots=self._bots, what="waits until it has ended")
            except (AlphaError, *DATABASE_FAULTS) as fault:
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
                    return True
                if await self._try():
                    log.info("lease_taken_again", bots=self._bots)
                    return True
                await self._end_old_sessions()
                if await self._try():
                    return True
            except LeaseLost:
                raise
            except (AlphaError, *DATABASE_FAULTS):
                await self._let_go()
                return False
            await self._let_go()
            raise LeaseLost(
                f"Another listener has taken over {', '.join(self._bots)} while PostgreSQL was away; this one ends. "
                "Run one listener for each bot."
            )

    async def _try(self) -> bool:
        """Take all locks or none."""
        connection = self._connection
        if connection is None:
            connection = self._connection = await connect(self._settings, self._name)
            await connection.execute(_KEEPALIVE, timeout=_ANSWER_S)
        for bot in self._bots:
            if not await connection.fetchval(_TAKE, LOCK_CLASS, bot, timeout=_ANSWER_S):
                await connection.execute("SELECT pg_advisory_unlock_all()", timeout=_ANSWER_S)
                return False
        return True

    async def _end_old_sessions(self) -> None:
        """Until none is left: what holds the locks after that is another listener's."""
        if self._connection is None:
            return
        for _ in range(_MOST_LOOKS):
            if not await self._connection.fetch(_END_OLD, self._name, timeout=_ANSWER_S):
                return
            await asyncio.sleep(_AGAIN_S)

    async def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*DATABASE_FAULTS):
                connection.terminate()
