"""Events and desired states from PostgreSQL: fills, desired states, halts, issues, sync runs, alerts and commands."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from alpha.errors import Rejected
from alpha.model.coin import USDT, fee_coin
from alpha.model.money import ZERO
from alpha.postgres.sql import queries
from alpha.registry import Bot
from operations.accounts import current_accounts
from operations.context import Operations

SQL = queries(__file__)

MOST_ROWS = 1_000
#: The kind of halt by which an operator forbids a symbol.
BLACKLIST = "blacklist"


@dataclass(frozen=True, slots=True)
class FillRow:
    """One execution. A positive `fee` was paid, in `fee_currency`; on a Funding row it is the funding."""

    bot: str
    time: datetime
    symbol: str
    side: str
    exec_type: str
    reason: str
    qty: Decimal
    price: Decimal
    value: Decimal
    fee: Decimal
    is_maker: bool
    exec_id: str
    fee_currency: str = USDT


@dataclass(frozen=True, slots=True)
class DayTotal:
    """A bot's result on one UTC day, cash basis; `net` is in USDT."""

    net: Decimal
    trips: int
    by_coin: Mapping[str, Decimal]


NO_TOTAL = DayTotal(ZERO, 0, {USDT: ZERO})


@dataclass(frozen=True, slots=True)
class HaltRow:
    """A halt: what must not be sent now. An empty `bot` or `symbol` means all."""

    bot: str
    symbol: str
    kind: str
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True)
class IssueRow:
    """An open difference between the ledger and the exchange."""

    issue: int
    bot: str
    kind: str
    symbol: str
    subject: str
    ours: str
    theirs: str
    explanation: str
    first_seen: datetime


@dataclass(frozen=True, slots=True)
class SyncRow:
    """The last run of the sync service for one account and kind; times are wall-clock."""

    bot: str
    kind: str
    started_at: datetime
    finished_at: datetime | None
    outcome: str
    rows_new: int
    detail: str
    covered_from: datetime | None
    covered_to: datetime | None


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One alert as it was raised, wall-clock time."""

    time: datetime
    level: str
    bot: str
    service: str
    key: str
    text: str


@dataclass(frozen=True, slots=True)
class CommandRow:
    """One command attempt from the audit log."""

    time: datetime
    source: str
    issuer: str
    role: str
    name: str
    bot: str
    outcome: str
    answer: str
    #: The words after the command.
    words: str = ""


@dataclass(frozen=True, slots=True)
class DriftRow:
    """Something of the exchange that its documents did not know, as first seen (wall clock)."""

    kind: str
    place: str
    name: str
    first_seen: datetime
    service: str
    example: str


def row_count(count: int) -> int:
    """Return `count`; Rejected outside 1 to MOST_ROWS."""
    if not 1 <= count <= MOST_ROWS:
        raise Rejected(f"Row count must be between 1 and {MOST_ROWS}, got {count}.")
    return count


def _ids(platform: Operations, bot: Bot | None) -> list[str]:
    return [each.id for each in platform.bots(bot)]


async def fills(platform: Operations, bot: Bot | None = None, count: int = 10) -> list[FillRow]:
    """Return the newest executions of each bot's current account, newest first."""
    accounts = await current_accounts(platform, bot)
    rows = await platform.history.rows(
        SQL["fills"],
        [account.bot for account in accounts],
        [account.account_id for account in accounts],
        row_count(count),
    )
    return [fill_of(row) for row in rows]


def fill_of(row: Any) -> FillRow:
    """Convert a row of trading.fills."""
    return FillRow(
        bot=row["bot_id"],
        time=row["exec_time"],
        symbol=row["symbol"],
        side=row["side"].lower(),
        exec_type=row["exec_type"],
        reason=row["reason"],
        qty=row["qty"],
        price=row["price"],
        value=row["value"],
        fee=row["fee"],
        is_maker=row["is_maker"],
        exec_id=row["exec_id"],
        fee_currency=fee_coin(row["symbol"], row.get("fee_currency")),
    )


async def day_totals(platform: Operations, day: date) -> dict[str, DayTotal]:
    """Return the result of each active bot on that UTC day, on its current account."""
    accounts = await current_accounts(platform)
    by_account: dict[int, list[Any]] = {}
    for row in await platform.history.rows(
        SQL["account_days"],
        [account.account_id for account in accounts],
        day,
        day + timedelta(days=1),
    ):
        by_account.setdefault(row["wanted_id"], []).append(row)
    found = {}
    for account in accounts:
        if rows := by_account.get(account.account_id):
            net = {row.get("settle_coin", USDT): row["net"] for row in rows}
            trips = sum(row["round_trips"] for row in rows)
            found[account.bot] = DayTotal(net.get(USDT, ZERO), trips, net)
    return found


async def desired_states(platform: Operations) -> dict[str, str]:
    """Return each bot's desired state: running, paused or stopped."""
    rows = await platform.history.rows(SQL["wishes"])
    return {row["bot_id"]: row["wish"] for row in rows}


@dataclass(frozen=True, slots=True)
class DesiredState:
    """A bot's desired state (running, paused or stopped), who set it (empty: nobody yet), and when, if known."""

    wish: str
    by: str
    at: datetime | None


async def desired_state_of(platform: Operations, bot: Bot) -> DesiredState | None:
    """Return the desired state of one bot; None if the database does not know the bot."""
    rows = await platform.history.rows(SQL["wish"], bot.id)
    return DesiredState(rows[0]["wish"], rows[0]["by"], rows[0]["wish_at"]) if rows else None


async def set_desired_state(platform: Operations, bot: Bot, wish: str, by: str) -> str:
    """Write the desired state; returns the previous one. Raises Rejected if the database does not know the bot."""
    old = await platform.history.value(
        SQL["set_wish"],
        bot.id,
        wish,
        by,
    )
    if old is None:
        raise Rejected(f"The database does not know {bot.id}. Run: python -m alpha.postgres.migrate.")
    return str(old)


async def halts(platform: Operations, bot: Bot | None = None) -> list[HaltRow]:
    """Return the halts in force for these bots."""
    rows = await platform.history.rows(
        SQL["halts"],
        _ids(platform, bot),
    )
    return [
        HaltRow(row["bot_id"] or "", row["symbol"] or "", row["kind"], row["reason"], row["created_at"]) for row in rows
    ]


async def account_settings(platform: Operations, bot: Bot | None = None) -> dict[str, dict[str, str]]:
    """Return the settings of each bot's current account that change what its figures mean, by bot and name."""
    found: dict[str, dict[str, str]] = {}
    for account in await current_accounts(platform, bot):
        rows = await platform.history.rows(SQL["account_settings"], account.account_id)
        found[account.bot] = {row["name"]: row["value"] for row in rows}
    return found


async def issues(platform: Operations, bot: Bot | None = None, count: int = 20) -> list[IssueRow]:
    """Return the open differences between the ledger and the exchange, newest first."""
    rows = await platform.history.rows(
        SQL["issues"],
        _ids(platform, bot),
        row_count(count),
    )
    return [
        IssueRow(
            issue=row["issue_id"],
            bot=row["bot_id"],
            kind=row["kind"],
            symbol=row["symbol"] or "",
            subject=row["subject"],
            ours=row["ours"] or "nothing",
            theirs=row["theirs"] or "nothing",
            explanation=row["explanation"] or "",
            first_seen=row["first_seen_at"],
        )
        for row in rows
    ]


async def sync_runs(platform: Operations, bot: Bot | None = None) -> list[SyncRow]:
    """Return the last run of each kind for each account of these bots, and how far its history has been read."""
    rows = await platform.history.rows(
        SQL["sync_runs"],
        _ids(platform, bot),
    )
    return [
        SyncRow(
            bot=row["bot_id"],
            kind=row["kind"],
            started_at=row["started_at"],
            finished_at=row["finished_at"],
            outcome=row["outcome"],
            rows_new=row["rows_new"],
            detail=row["detail"],
            covered_from=row["covered_from"],
            covered_to=row["covered_to"],
        )
        for row in rows
    ]


async def alerts(platform: Operations, count: int = 20) -> list[tuple[str, AlertRow]]:
    """Return the latest alerts kept in PostgreSQL, newest first, each with the id of its stream entry (may be empty)."""
    rows = await platform.history.rows(
        SQL["alerts"],
        row_count(count),
    )
    return [
        (
            row["stream_id"] or "",
            AlertRow(
                time=row["raised_at"],
                level=row["level"],
                bot=row["bot_id"] or "",
                service=row["source"],
                key=row["code"],
                text=f"{row['message']} {row['remedy']}".strip(),
            ),
        )
        for row in rows
    ]


async def commands(platform: Operations, count: int = 20) -> list[CommandRow]:
    """Return the latest command attempts, newest first."""
    rows = await platform.history.rows(
        SQL["commands"],
        row_count(count),
    )
    return [command_of(row) for row in rows]


def command_of(row: Any) -> CommandRow:
    """Convert a row of audit.commands."""
    return CommandRow(
        row["issued_at"],
        row["source"],
        row["issuer"],
        row["issuer_role"] or "stranger",
        row["name"],
        row["bot_id"] or "",
        row["outcome"],
        row["answer"] or "",
        str((row["arguments"] or {}).get("words", "")),
    )


async def drift(platform: Operations, count: int = 30, since: datetime | None = None) -> list[DriftRow]:
    """The newest things of the exchange that its documents did not know, newest first; `since` a wall-clock time."""
    rows = await platform.history.rows(
        SQL["drift"],
        row_count(count),
        since,
    )
    return [DriftRow(**dict(row)) for row in rows]
