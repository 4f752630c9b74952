"""PostgreSQL for one bot: its account, its state, halts and the operator's wish."""

from collections.abc import Sequence

import asyncpg

from alpha.config.services import DatabaseSettings
from alpha.errors import Misconfigured, Retry
from alpha.lease import LeaseLost
from alpha.model.account import Account, Environment
from alpha.model.timestamp import at
from alpha.postgres.bounded_database import BoundedDatabase
from alpha.postgres.database import POSTGRES_ERRORS, Record, explained
from alpha.postgres.sql import queries
from alpha.registry import Bot
from bot_runner.order_intents import OrderIntent

SQL = queries(__file__)


class Store:
    """What one bot reads and writes. Raises Retry while PostgreSQL is unavailable."""

    def __init__(self, settings: DatabaseSettings, bot: Bot, queries: BoundedDatabase | None = None) -> None:
        """`queries`: connections shared with other bots of the process."""
        self._settings = settings
        self._bot = bot
        self._questions = queries or BoundedDatabase(settings, bot.container, max_size=2)
        self._saved: dict[str, object] = {}
        self._served = False

    async def close(self) -> None:
        """Close the connections."""
        await self._questions.close()

    async def desired_state(self) -> str:
        """What this bot is to do, by the operator: running, paused or stopped. Misconfigured for an unknown bot."""
        rows = await self._fetch(SQL["wish"], self._bot.id)
        if not rows:
            raise Misconfigured(
                f"trading.bots has no bot {self._bot.id}. Run the migrations: they enter the bots of bots.toml."
            )
        return str(rows[0]["wish"])

    async def register(self, environment: Environment, user_id: str) -> Account:
        """The account's number, made at its first use. Misconfigured when it belongs to another bot."""
        rows = await self._fetch(SQL["register_account"], environment.value, user_id, self._bot.id)
        return Account(int(rows[0]["id"]), self._bot.id, environment, user_id)

    async def last_account(self) -> int | None:
        """The account this bot saved state for last, None when it never did."""
        rows = await self._fetch(SQL["last_account"], self._bot.id)
        return int(rows[0]["account_id"]) if rows else None

    async def load(self, account: Account) -> dict[str, object]:
        """The rows of an account's state; empty when there are none."""
        rows = await self._fetch(SQL["load"], account.id)
        self._saved = {row["name"]: row["state"] for row in rows}
        return dict(self._saved)

    async def save(self, account: Account, token: int, rows: dict[str, object]) -> None:
        """Make these rows durable, those that changed, in one transaction. LeaseLost when the token is outdated."""
        changed = {name: state for name, state in rows.items() if self._saved.get(name) != state}
        if not changed:
            return
        try:
            await self._fetch(SQL["save"], account.id, self._bot.id, token, list(changed), list(changed.values()))
        except Retry:
            self._saved = {}
            raise
        self._saved |= changed

    def forget(self) -> None:
        """Forget what is stored: the next save writes every row."""
        self._saved = {}

    async def record(self, account: Account, intents: Sequence[OrderIntent]) -> None:
        """Write why orders are sent; one that is there already stays as it is."""
        await self._fetch(
            SQL["record"],
            account.id,
            self._bot.id,
            [row.order_link_id for row in intents],
            [row.symbol for row in intents],
            [at(row.bar_ms) for row in intents],
            [row.intent for row in intents],
            [row.kind for row in intents],
            [row.side for row in intents],
            [row.qty for row in intents],
            [row.price for row in intents],
            [row.tag for row in intents],
            [row.reason for row in intents],
            [row.why for row in intents],
            [row.decision_price for row in intents],
            [at(row.decided_ms) for row in intents],
        )

    async def halt(self, account: Account, symbol: str, now_ms: int) -> str | None:
        """Why nothing may be entered in `symbol` at business time `now_ms`, or None."""
        rows = await self._fetch(SQL["halt"], account.id, self._bot.id, symbol, at(now_ms))
        return str(rows[0]["reason"]) if rows else None

    async def rows(self, sql: str, *arguments: object) -> list[Record]:
        """The rows of a query of another part of the bot."""
        return await self._fetch(sql, *arguments)

    async def _fetch(self, sql: str, *arguments: object) -> list[Record]:
        try:
            rows = await self._questions.fetch(sql, *arguments)
        except asyncpg.PostgresError as fault:
            if fault.sqlstate == "AL002":
                raise LeaseLost(f"{self._bot.id}: another process took over the account; this one ends.") from None
            if fault.sqlstate == "AL001":
                raise Misconfigured(str(fault)) from None
            raise explained(fault, self._settings, served=self._served) from None
        except POSTGRES_ERRORS as fault:
            raise explained(fault, self._settings, served=self._served) from None
        self._served = True
        return rows
