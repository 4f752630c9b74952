"""The lease of an account: one process trades on it, and what an older one writes is refused."""

import asyncio
import os
import socket
import uuid
from collections.abc import Callable

from alpha.clock import monotonic_ms
from alpha.errors import Retry
from alpha.logs import logger
from bot_runner.store import BotAccount, LeaseLost, Store

log = logger(__name__)


class Lease:
    """Held from `take` until `give_back`, renewed by `keep`. `token` fences what is written under it."""

    def __init__(
        self, store: Store, account: BotAccount, seconds: int, now_ms: Callable[[], int] = monotonic_ms
    ) -> None:
        self._store = store
        self._account = account
        self._seconds = seconds
        self._now_ms = now_ms
        self._renewed_ms = 0
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.token = 0
        self.lost = False

    async def try_take(self) -> bool:
        """Take it when it is free. Retry while PostgreSQL is away."""
        asked_ms = self._now_ms()
        token = await self._store.acquire(self._account, self._holder, self._seconds)
        if token is None:
            return False
        self.token = token
        self._renewed_ms = asked_ms
        return True

    @property
    def sure(self) -> bool:
        """True while nobody else can have it: entries need that."""
        return not self.lost and self._now_ms() - self._renewed_ms < self._seconds * 1000

    async def keep(self) -> None:
        """Renew until cancelled. Raises LeaseLost when another process has it."""
        while True:
            await asyncio.sleep(self._seconds / 4)
            await self.renew()

    async def renew(self) -> None:
        """Renew once; a database that is away is tried again. LeaseLost when another process has it."""
        asked_ms = self._now_ms()
        try:
            kept = await self._store.renew(self._account, self.token, self._seconds)
        except Retry as fault:
            log.warning("lease_not_renewed", why=str(fault))
            return
        if not kept:
            self.lost = True
            raise LeaseLost("Another process took over this account; this one ends.")
        self._renewed_ms = asked_ms

    async def give_back(self) -> None:
        """Release it, so that a successor starts at once."""
        if self.token and not self.lost:
            try:
                await self._store.release(self._account, self.token)
            except Retry as fault:
                log.warning("lease_not_released", why=str(fault))
