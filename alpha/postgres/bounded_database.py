"""Questions to PostgreSQL that end within a limit, whatever hangs: for those who go on without it.

A driver that waits for its own cancellation, or for a server that stands still, would hold its caller far longer than the
time-out it was given. Here a question that is not answered in time is let go of with every connection of its pool.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from alpha.config.services import DatabaseSettings
from alpha.postgres.database import POSTGRES_ERRORS, Pool, create_pool

TIMEOUT_S = 5.0
#: After a question that was not answered in that time, those of the next TIMEOUT_S get this much: a round asks several.
SHORT_S = 1.0


class BoundedDatabase:
    """A pool that connects when it is first asked."""

    def __init__(
        self, settings: DatabaseSettings, application: str, *, max_size: int, timeout_s: float = TIMEOUT_S
    ) -> None:
        """`timeout_s` is how long PostgreSQL may take over one question, connecting included."""
        self._settings = settings
        self._application = application
        self._max_size = max_size
        self._timeout_s = timeout_s
        self._hung_s = -timeout_s
        self._pool: Pool = None

    async def fetch(self, sql: str, *arguments: object) -> list[Mapping[str, Any]]:
        """The rows of one question. Raises `alpha.postgres.errors.POSTGRES_ERRORS`; TimeoutError when there was no answer in time.

        What it should have done may be done all the same.
        """
        if self._pool is None:
            self._pool = await create_pool(self._settings, self._application, min_size=0, max_size=self._max_size)
        pool = self._pool
        asking = asyncio.create_task(pool.fetch(sql, *arguments))
        # Whoever is cancelled leaves his question alone: it ends by itself, or with its connection.
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
        found: list[Mapping[str, Any]] = asking.result()
        return found

    async def close(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), 2.0)
            except POSTGRES_ERRORS:
                self._pool.terminate()


def _unheard(question: "asyncio.Task[object]") -> None:
    """Let a fault that nobody waits for any more pass without a word."""
    if not question.cancelled():
        question.exception()
