"""The account that each bot currently trades. Figures of different accounts (demo, live) are never added up."""

from dataclasses import dataclass

from alpha.live_state.read import once
from alpha.postgres.sql import queries
from alpha.registry import Bot
from operations.context import Operations

SQL = queries(__file__)


@dataclass(frozen=True, slots=True)
class CurrentAccount:
    """The account that the listener last read for a bot; `environment` is live, demo, testnet or simulated."""

    bot: str
    account_id: int
    environment: str


async def current_accounts(platform: Operations, bot: Bot | None = None) -> list[CurrentAccount]:
    """Return the current account of each of these bots that has one, in registry order."""
    return await once("accounts", "" if bot is None else bot.id, lambda: _current_accounts(platform, bot))


async def _current_accounts(platform: Operations, bot: Bot | None) -> list[CurrentAccount]:
    ids = [each.id for each in platform.bots(bot)]
    rows = await platform.history.rows(SQL["current_accounts"], ids)
    found = [CurrentAccount(row["bot_id"], row["account_id"], row["environment"]) for row in rows]
    return sorted(found, key=lambda account: ids.index(account.bot))


async def account_ids(platform: Operations, bot: Bot | None = None) -> list[int]:
    """The ids of those accounts."""
    return [account.account_id for account in await current_accounts(platform, bot)]
