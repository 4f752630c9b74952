"""Which listener records which account: a lease per account, and one for what belongs to all (prices and candles).

Two listeners would tell readers everything twice. Each lease has a deadline, so that a listener that hangs is replaced like
one that was killed, and a fencing token, so that it can write neither live state nor watermarks when it goes on: Redis
(`apply.lua`) and PostgreSQL (`only_holder`) refuse a token that is not the newest. While PostgreSQL is unavailable nobody can
take a lease, and the holder goes on.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TypeVar

from alpha.config.services import DatabaseSettings
from alpha.errors import AlphaError
from alpha.lease import Act, Grant, Lease, LeaseLost, LeaseNotHeld, process_name
from alpha.logs import logger
from alpha.postgres.bounded_database import BoundedDatabase
from alpha.postgres.database import Connection
from alpha.postgres.lease import LeaseTable, PostgresLease
from alpha.postgres.sql import queries

SQL = queries(__file__)

log = logger(__name__)

T = TypeVar("T")
LISTENER_LEASES = LeaseTable("trading.listener_leases", ("name",))
PUBLIC = "public"
#: A listener that hangs is replaced after this time, and its successor needs a few seconds to begin. Renewed every quarter of it.
LEASE_S = 6.0
_ANSWER_S = 2.0
_AGAIN_S = 0.5
#: Who waits for so long says so: perhaps nobody listens for some bot.
_SAY_AFTER_S = 30.0
#: Renewals that come within this time go in one statement: sixty accounts are sixty leases.
_TOGETHER_S = 0.05


class _Row(PostgresLease):
    """A row that notes since when PostgreSQL has not answered."""

    def __init__(self, leases: "Leases", settings: DatabaseSettings, values: Mapping[str, object]) -> None:
        super().__init__(settings, "", LISTENER_LEASES, values, timeout_s=_ANSWER_S, questions=leases.questions)
        self._leases = leases
        self.name = str(values["name"])

    async def acquire(self, holder: str, seconds: float) -> Grant | None:
        return await self._leases.noting(super().acquire(holder, seconds))

    async def renew(self, holder: str, token: int, seconds: float) -> bool:
        return await self._leases.renew_together(self.name, token, seconds)

    async def renew_many(self, holder: str, tokens: Mapping[str, int], seconds: float) -> set[str]:
        """Renew these leases in one statement; returns the names of those that are still the holder's."""
        rows = await self._fetch(SQL["renew_many"], holder, seconds, list(tokens), list(tokens.values()))
        return {str(row["name"]) for row in rows}


class AccountLease(Lease):
    """The right to record one account."""

    def __init__(self, row: _Row, name: str, what: str, holder: str) -> None:
        super().__init__(row, LEASE_S, what=what, holder=holder)
        self.name = name

    async def prove(self) -> bool:
        """Ask PostgreSQL now; False while it does not answer. LeaseLost when another listener has it."""
        self.doubt()
        await self.renew()
        return self.held

    async def only_holder(self, connection: Connection) -> None:
        """In a transaction: nobody takes this lease until it is committed. LeaseNotHeld or LeaseLost unless it is ours."""
        self.check(Act.CHANGE)
        if await connection.fetchval(SQL["newest"], self.name) != self.token:
            raise LeaseLost(f"Another listener holds {self.name} now: nothing of it is written any more.")


class Leases:
    """The leases of this process, over two connections. `waits(holder)` is called once when it has waited for long."""

    def __init__(self, settings: DatabaseSettings, waits: Callable[[str], Awaitable[None]] | None = None) -> None:
        self.questions = BoundedDatabase(settings, "websocket_listener lease", max_size=2, timeout_s=_ANSWER_S)
        self.waiting_since_s: float | None = None
        #: Since when PostgreSQL has not answered, on the monotonic clock; None while it does.
        self.away_since_s: float | None = None
        self._settings = settings
        self._waits = waits
        # one name for the process: an account that begins anew takes its own lease again at once
        self._name = process_name()
        #: Leases to renew with the next statement, the task that sends it, and whether it is on its way.
        self._due: dict[str, int] = {}
        self._renewing: asyncio.Task[set[str]] | None = None
        self._sent = False
        self._public_row = _Row(self, settings, {"name": PUBLIC})
        self.public = AccountLease(self._public_row, PUBLIC, "prices and candles", self._name)

    def of_account(self, account_id: int, what: str) -> AccountLease:
        """The lease of this account, not taken yet."""
        name = f"account:{account_id}"
        return AccountLease(_Row(self, self._settings, {"name": name}), name, what, self._name)

    async def take_public(self, stop: asyncio.Event) -> bool:
        """Wait until no other listener listens; False when `stop` was set before."""
        said = False
        while not stop.is_set():
            try:
                if await self.public.try_take():
                    self.waiting_since_s = None
                    return True
                if self.waiting_since_s is None:
                    self.waiting_since_s = time.monotonic()
                    log.warning("another_listener", holder=await self.holder(), what="waits until its lease ends")
                elif not said and time.monotonic() - self.waiting_since_s > _SAY_AFTER_S and self._waits is not None:
                    said = True
                    await self._waits(await self.holder())
            except AlphaError as fault:
                log.info("lease_not_asked", why=str(fault)[:200])
            with suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN_S):
                    await stop.wait()
        return False

    async def holder(self) -> str:
        """Host and process of whoever listens."""
        return (await self._public_row.holder()).rpartition(":")[0]

    async def renew_together(self, name: str, token: int, seconds: float) -> bool:
        """Renew one lease, in one statement with all others that are due now."""
        self._due[name] = token
        if self._renewing is None or self._sent:
            self._due, self._sent = {name: token}, False
            self._renewing = asyncio.create_task(self._renew_due(self._due, seconds))
        renewing = self._renewing
        return name in await asyncio.shield(renewing)

    async def _renew_due(self, due: dict[str, int], seconds: float) -> set[str]:
        await asyncio.sleep(_TOGETHER_S)
        self._sent = True
        return await self.noting(self._public_row.renew_many(self._name, due, seconds))

    async def noting(self, asked: Awaitable[T]) -> T:
        """What was asked; whether PostgreSQL has answered is noted."""
        try:
            answer = await asked
        except AlphaError:
            if self.away_since_s is None:
                self.away_since_s = time.monotonic()
            raise
        self.away_since_s = None
        return answer

    async def may_write_public(self) -> None:
        """LeaseNotHeld unless prices and candles are this listener's to write."""
        if self.public.lost or not self.public.token:
            raise LeaseNotHeld("Another listener writes prices and candles.")
        try:
            await self.public.ready(Act.REDUCE)
        except LeaseLost as fault:
            raise LeaseNotHeld(str(fault)) from None

    @property
    def writes_public(self) -> bool:
        """Whether prices and candles are this listener's to write, as far as it knows."""
        return bool(self.public.token) and not self.public.lost

    async def hold_public(self, taken: Callable[[], None]) -> None:
        """Of several listeners that share the accounts one writes prices and candles: wait for that, hold it, wait again.

        `taken` is called each time it becomes this one.
        """
        while True:
            with suppress(AlphaError):
                if await self.public.try_take():
                    log.info("public_taken")
                    taken()
                    with suppress(LeaseLost):
                        await self.public.keep()
            await asyncio.sleep(_AGAIN_S)

    @property
    def name(self) -> str:
        """The name of this process as a holder."""
        return self._name

    async def close(self) -> None:
        """Close the connections."""
        await self.questions.close()


@asynccontextmanager
async def always() -> AsyncIterator[bool]:
    """The attempt of a listener that shares with nobody."""
    yield True


async def take(lease: AccountLease, attempt: Callable[[], AbstractAsyncContextManager[bool]] = always) -> None:
    """Wait until this account is ours. `attempt` says whether one more may be taken now."""
    waits = False
    while True:
        try:
            async with attempt() as may:
                if may and await lease.try_take():
                    return
            if not waits:
                waits = True
                log.warning("account_of_another_listener", lease=lease.name)
        except AlphaError as fault:
            log.info("lease_not_asked", lease=lease.name, why=str(fault)[:200])
        await asyncio.sleep(_AGAIN_S)
