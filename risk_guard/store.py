"""PostgreSQL access of the guard: halts, its own state, the strategies' state. The guard works without PostgreSQL."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from alpha.config.services import DatabaseSettings
from alpha.errors import AlphaError, Retry
from alpha.logs import logger
from alpha.postgres.bounded_database import TIMEOUT_S, BoundedDatabase
from alpha.postgres.database import POSTGRES_ERRORS, Record, explained
from alpha.postgres.sql import queries
from alpha.process import end_tasks
from alpha.strategy.positions import OwnPosition

SQL = queries(__file__)

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Halt:
    """One halt to put in force. `created_by` names the limit or the operator; `expires_at` is in business time.

    `account_id` is None while the account is unknown: the bot is then halted on every account.
    """

    account_id: int | None
    bot_id: str
    symbol: str | None
    kind: str
    reason: str
    created_by: str
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DesiredState:
    """The state a bot must stay in after the guard paused or stopped it: `paused` or `stopped`, and why."""

    bot_id: str
    wish: str
    by: str


class GuardStore:
    """The guard's reads and writes. Raises Retry while PostgreSQL is unavailable; halts and desired states queue."""

    def __init__(self, settings: DatabaseSettings, *, timeout_s: float = TIMEOUT_S) -> None:
        """`timeout_s` is how long PostgreSQL may take per query."""
        self._settings = settings
        self._questions = BoundedDatabase(settings, "risk_guard", max_size=4, timeout_s=timeout_s)
        self._waiting: list[Halt | DesiredState] = []
        self._flushing: asyncio.Task[bool] | None = None
        self._served = False

    async def close(self) -> None:
        """Close the connections."""
        if self._flushing is not None:
            await end_tasks([self._flushing])
        await self._questions.close()

    async def account_id(self, environment: str, user_id: str, bot_id: str) -> int:
        """The database id of an account, created at first use."""
        rows = await self._fetch(SQL["register_account"], environment, user_id, bot_id)
        return int(rows[0]["id"])

    async def sent_by_bot(self, account_id: int) -> frozenset[str]:
        """The ids of the last orders that the account's bot recorded as its own; it records each before sending it."""
        rows = await self._fetch(
            SQL["sent"],
            account_id,
        )
        return frozenset(rows[0]["sent"] or ()) if rows else frozenset()

    async def own_positions(self, account_id: int) -> dict[str, OwnPosition]:
        """What the account's strategy remembers of its positions, by symbol."""
        rows = await self._fetch(SQL["positions"], account_id)
        if not rows:
            return {}
        try:
            return msgspec.convert(rows[0]["state"], dict[str, OwnPosition], strict=False)
        except msgspec.ValidationError as fault:
            raise Retry(f"What the strategy of account {account_id} remembers cannot be read: {fault}.") from None

    async def load(self, account_id: int, name: str) -> Any:
        """One part of the guard's own state; None when it does not exist."""
        rows = await self._fetch(SQL["load"], account_id, name)
        return rows[0]["state"] if rows else None

    async def load_all(self, account_id: int, name: str) -> list[Any]:
        """All parts called `name` or `name:...`."""
        rows = await self._fetch(
            SQL["load_all"],
            account_id,
            name,
        )
        return [row["state"] for row in rows]

    async def save(self, account_id: int, name: str, state: object) -> None:
        """Make one part of the guard's own state durable."""
        await self._fetch(SQL["save"], account_id, name, state)

    async def forget_closing(self, account_id: int, name: str, command_id: str) -> None:
        """Delete the saved state of a closing, unless another command has replaced it."""
        await self._fetch(
            SQL["forget_closing"],
            account_id,
            name,
            command_id,
        )

    async def take_bot_lease(self, account_id: int) -> bool:
        """Take an account's lease from its bot, whatever it does: it can send nothing more. False when it never had one."""
        return bool(await self._fetch(SQL["take_bot_lease"], account_id, "risk_guard"))

    async def begun_commands(self) -> frozenset[str]:
        """The ids of the commands whose closings are unfinished, across all accounts."""
        rows = await self._fetch(SQL["begun"])
        return frozenset(row["id"] for row in rows)

    async def halt(self, halt: Halt) -> bool:
        """Put a halt in force, once. False when PostgreSQL is unavailable: it is queued, and `flush` writes it."""
        self._waiting.append(halt)
        return await self.flush()

    async def set_desired_state(self, wish: DesiredState) -> bool:
        """Write a bot's desired state; `stopped` is never overwritten. False when the write is queued."""
        self._waiting.append(wish)
        return await self.flush()

    async def flush(self) -> bool:
        """Write queued halts and desired states, oldest first; True when none is left. Joins a flush in progress."""
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        return await asyncio.shield(self._flushing)

    async def _flush(self) -> bool:
        while self._waiting:
            first = self._waiting[0]
            try:
                await self._write(first)
            except AlphaError as fault:
                log.warning("halt_waits", what=str(first), fault=str(fault))
                return False
            if self._waiting and self._waiting[0] is first:
                self._waiting.pop(0)
        return True

    async def _write(self, what: Halt | DesiredState) -> None:
        if isinstance(what, DesiredState):
            await self._fetch(SQL["set_wish"], what.bot_id, what.wish, what.by)
            return
        await self._fetch(
            SQL["halt"],
            what.account_id,
            what.bot_id,
            what.symbol,
            what.kind,
            # a reason may quote the exchange; PostgreSQL rejects NUL, and that must not block a halt forever
            what.reason.replace("\x00", "\ufffd"),
            what.created_by,
            what.expires_at,
        )

    async def lift(self, bot_id: str | None, created_by: str | None, by: str) -> int:
        """Lift the halts of a bot (None: all) set by one limit (None: all); returns how many. On Retry none is lifted.

        Matching halts that are still queued are dropped.
        """
        if self._flushing is not None:
            await asyncio.wait({self._flushing})
        waited = [
            each
            for each in self._waiting
            if isinstance(each, Halt)
            and each.kind != "blacklist"
            and bot_id in {None, each.bot_id}
            and created_by in {None, each.created_by}
        ]
        lifted = len(await self._fetch(SQL["lift"], bot_id, created_by, by))
        self._waiting = [each for each in self._waiting if not any(each is dropped for dropped in waited)]
        return lifted + len(waited)

    async def halts_by(self, created_by: str, moment: datetime) -> bool:
        """Whether a halt by this limit is in force for any bot at this business time, or waits to be written."""
        if any(isinstance(each, Halt) and each.created_by == created_by for each in self._waiting):
            return True
        return bool((await self._fetch(SQL["halts_by"], created_by, moment))[0]["found"])

    async def lift_symbol(self, bot_id: str, symbol: str, kind: str, by: str) -> bool:
        """Lift the halt of this kind on one symbol; False if none is in force."""
        return bool(await self._fetch(SQL["lift_symbol"], bot_id, symbol, kind, by))

    async def rows(self, sql: str, *arguments: object) -> list[Record]:
        """The rows of one query."""
        return await self._fetch(sql, *arguments)

    async def _fetch(self, sql: str, *arguments: object) -> list[Record]:
        try:
            rows = await self._questions.fetch(sql, *arguments)
        except POSTGRES_ERRORS as fault:
            raise explained(fault, self._settings, served=self._served) from None
        self._served = True
        return rows
