"""Queries to PostgreSQL with a hard timeout, whatever hangs: for services that must continue without it.

A driver that waits for its own cancellation, or for a frozen server, would block its caller far longer than its
timeout. Here, on timeout, the whole pool is terminated.
"""

import asyncio
import math
import time

from alpha.config.services import DatabaseSettings
from alpha.postgres.database import POSTGRES_ERRORS, Pool, Record, create_pool
from alpha.postgres.errors import passes

TIMEOUT_S = 5.0
#: After a timeout, queries during the next TIMEOUT_S get only this long, because one round sends several.
SHORT_S = 1.0


class BoundedDatabase:
    """A pool that connects on first use."""

    def __init__(
        self, settings: DatabaseSettings, application: str, *, max_size: int, timeout_s: float = TIMEOUT_S
    ) -> None:
        """`timeout_s` is how long PostgreSQL may take per query, connecting included."""
        self._settings = settings
        self._application = application
        self._max_size = max_size
        self._timeout_s = timeout_s
        self._hung_s = -timeout_s
        self._pool: Pool | None = None
        self._has_answered = False
        self._away = False
        self._back_s = -math.inf

    @property
    def back_for_s(self) -> float:
        """Seconds for which it has been answering since an outage; 0 during one, infinite where this process has seen none."""
        return 0.0 if self._away else time.monotonic() - self._back_s

    async def fetch(self, sql: str, *arguments: object) -> list[Record]:
        """The rows of one query. Raises `alpha.postgres.errors.POSTGRES_ERRORS`, or TimeoutError after the time limit.

        After an error the statement may still have taken effect.
        """
        try:
            rows = await self._fetch(sql, arguments)
        except POSTGRES_ERRORS as fault:
            self._away = self._away or (self._has_answered and passes(fault))
            raise
        if self._away:
            self._away, self._back_s = False, time.monotonic()
        self._has_answered = True
        return rows

    async def _fetch(self, sql: str, arguments: tuple[object, ...]) -> list[Record]:
        if self._pool is None:
            self._pool = await create_pool(self._settings, self._application, min_size=0, max_size=self._max_size)
        pool = self._pool
        asking = asyncio.create_task(pool.fetch(sql, *arguments))
        # A cancelled caller abandons its query: the query ends on its own, or with its connection.
        asking.add_done_callback(_unheard)
        began_s = time.monotonic()
        short = began_s - self._hung_s < self._timeout_s
        limit_s = min(SHORT_S, self._timeout_s) if short else self._timeout_s
        done, _ = await asyncio.wait({asking}, timeout=limit_s)
        if not done:
            if not short:
                self._hung_s = time.monotonic()
            if self._pool is pool:
                self._pool = None
            pool.terminate()
            raise TimeoutError
        return asking.result()

    async def close(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            try:
                async with asyncio.timeout(2.0):
                    await self._pool.close()
            except POSTGRES_ERRORS:
                self._pool.terminate()


def _unheard(question: "asyncio.Task[object]") -> None:
    """Discard the error of an abandoned query."""
    if not question.cancelled():
        question.exception()
