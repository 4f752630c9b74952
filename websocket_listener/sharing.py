"""Several listeners share the accounts: each takes its part, more when one goes, fewer when one comes.

Which listener records an account is decided by the account's lease alone (`lease.py`); the table of members only says how many
listeners there are. Two that count differently for a moment hold back or try more, and never record the same account.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from alpha.clock import SYSTEM_CLOCK, Clock
from alpha.logs import logger
from alpha.postgres.bounded_database import BoundedDatabase
from alpha.postgres.database import POSTGRES_ERRORS
from alpha.postgres.sql import queries

SQL = queries(__file__)

log = logger(__name__)
_BEAT_S = 1.0
#: Without a beat for so long a listener counts no more. Shorter than the lease, so that its accounts, once free, wait for no count:
#: whoever counts too few for a moment still finds the others' leases held.
_MEMBER_S = 4.0
#: So long a new count must hold before an account is given up for it.
_SETTLED_S = 3.0


class Recorded(Protocol):
    """An account as sharing sees it."""

    @property
    def recorded_here(self) -> bool:
        """Whether this listener holds its lease."""

    @property
    def holds(self) -> bool:
        """Whether it has positions, as far as is known."""

    def release(self) -> None:
        """Stop recording it and give its lease back."""


class Sharing:
    """This listener's part of the accounts."""

    def __init__(
        self,
        questions: BoundedDatabase,
        name: str,
        accounts: Callable[[], Sequence[Recorded]],
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.members = 1
        #: Nothing is taken before the others were counted once.
        self.counted = False
        self._questions = questions
        self._name = name
        self._accounts = accounts
        self._clock = clock
        self._since_s = clock.monotonic_s()
        self._attempt = asyncio.Lock()

    @property
    def part(self) -> int:
        """How many accounts this listener may record: all, shared evenly, rounded up."""
        return -(-len(self._accounts()) // self.members)

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[bool]:
        """One account after another: True when one more may be taken now."""
        async with self._attempt:
            held = sum(account.recorded_here for account in self._accounts())
            yield self.counted and held < self.part

    async def run(self) -> None:
        """Count listeners once a second and release accounts beyond this one's share, until cancelled."""
        while True:
            await self.beat()
            self._rebalance()
            await self._clock.sleep(_BEAT_S)

    async def beat(self) -> None:
        """Say that this listener is there, and count the others. While PostgreSQL does not answer the last count stays."""
        try:
            rows = await self._questions.fetch(SQL["beat"], self._name, _MEMBER_S)
        except POSTGRES_ERRORS as fault:
            log.info("members_not_counted", why=type(fault).__name__)
            return
        members = 1 + int(rows[0]["others"])
        if members != self.members or not self.counted:
            self._since_s = self._clock.monotonic_s()
            log.info("listeners_counted", listeners=members, accounts=len(self._accounts()))
        self.members, self.counted = members, True

    def _rebalance(self) -> None:
        if self._clock.monotonic_s() - self._since_s < _SETTLED_S:
            return
        held = [account for account in self._accounts() if account.recorded_here]
        surplus = len(held) - self.part
        if surplus > 0:
            log.info("accounts_given_up", count=surplus, held=len(held), part=self.part)
            # those without positions first: the change of hands costs a second or two of stale live state
            for account in sorted(held, key=lambda account: account.holds)[:surplus]:
                account.release()

    async def leave(self) -> None:
        """Count no more: the others take over at once."""
        try:
            await self._questions.fetch(SQL["leave"], self._name)
        except POSTGRES_ERRORS as fault:
            log.info("member_not_removed", why=type(fault).__name__)
