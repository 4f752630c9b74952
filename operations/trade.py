"""One trade in full: why it was entered and left, its orders and fills, slippage, funding, stops, and what people did."""

import asyncio
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from alpha.errors import Rejected
from alpha.postgres.sql import queries
from alpha.registry import Bot
from operations.accounts import account_ids
from operations.analytics import TripRow, trades, trip_of
from operations.context import Operations
from operations.history import CommandRow, FillRow, command_of, fill_of

SQL = queries(__file__)

_ID = re.compile(r"[0-9a-f]{10}")
_NUMBER = re.compile(r"[0-9]{1,4}")
#: Fills of one trade that are shown; a grid may have thousands.
MOST_FILLS = 500
#: Levels of its stops that are shown; a trailing stop may have moved at every candle.
MOST_LEVELS = 500
#: What happened this long before the entry and after the exit belongs to the trade's page.
AROUND = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class IntentRow:
    """Why an order was sent, and how far from the price at which it was decided it was filled (bps; a cost is above 0)."""

    order_link_id: str
    intent: str
    side: str
    qty: Decimal
    tag: str
    reason: str
    why: str
    decided_at: datetime
    decision_price: Decimal | None
    average_price: Decimal | None
    slippage_bps: Decimal | None


@dataclass(frozen=True, slots=True)
class StopRow:
    """A stop or target order during the life of a trade, in its last known state."""

    created_at: datetime
    updated_at: datetime
    kind: str
    status: str
    side: str
    trigger_price: Decimal | None
    qty: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class StopLevel:
    """A stop or target order waits at this price from then on. `until` is when the order was last heard of, or the trade's end."""

    order_id: str
    since: datetime
    kind: str
    trigger_price: Decimal
    reason: str
    until: datetime


@dataclass(frozen=True, slots=True)
class TradeDetail:
    """Everything known about one trade. Amounts in the settle coin."""

    trip: TripRow
    intents: list[IntentRow]
    fills: list[FillRow]
    stops: list[StopRow]
    levels: list[StopLevel]
    commands: list[CommandRow]


async def find_trade(platform: Operations, name: str, bot: Bot | None = None) -> TripRow:
    """Return the trade with this id, or the n-th newest one (1 is the last). Rejected if there is none."""
    name = name.lower()
    if not (_ID.fullmatch(name) or _NUMBER.fullmatch(name)):
        raise Rejected(f"There is no trade {name[:40]!r}. /trades lists them.")
    if _ID.fullmatch(name):
        rows = await platform.history.rows(
            SQL["by_id"],
            name,
        )
        if not rows:
            raise Rejected(f"There is no trade {name}. /trades lists them.")
        return trip_of(rows[0])
    number = int(name)
    newest = await trades(platform, bot, number)
    if number < 1 or len(newest) < number:
        raise Rejected(f"There are {len(newest)} closed trades; {number} is none of them.")
    return newest[number - 1]


async def trade(
    platform: Operations, name: str, bot: Bot | None = None, audit: Operations | None = None
) -> TradeDetail:
    """Return one trade in full, by its id or its number counted from the newest. `audit` reads the audit, if not `platform`."""
    trip = await find_trade(platform, name, bot)
    accounts = await account_ids(platform, platform.registry.find(trip.bot))
    made, intents, stops, levels, commands = await asyncio.gather(
        _fills(platform, trip, accounts),
        _intents(platform, trip, accounts),
        _stops(platform, trip, accounts),
        _levels(platform, trip, accounts),
        _commands(platform, audit or platform, trip, accounts),
    )
    return TradeDetail(trip, intents, made, stops, levels, commands)


async def stop_levels(platform: Operations, trip: TripRow) -> list[StopLevel]:
    """Return where the stops and targets of a trade waited while it lived, oldest first."""
    return await _levels(platform, trip, await account_ids(platform, platform.registry.find(trip.bot)))


async def _fills(platform: Operations, trip: TripRow, accounts: list[int]) -> list[FillRow]:
    rows = await platform.history.rows(
        SQL["fills"],
        accounts,
        trip.symbol,
        trip.opened_at,
        trip.closed_at,
        MOST_FILLS,
    )
    return [fill_of(row) for row in rows]


async def _intents(platform: Operations, trip: TripRow, accounts: list[int]) -> list[IntentRow]:
    rows = await platform.history.rows(
        SQL["intents"],
        accounts,
        trip.symbol,
        trip.opened_at,
        trip.closed_at,
        MOST_FILLS,
    )
    return [_intent(row) for row in rows]


def _intent(row: Any) -> IntentRow:
    return IntentRow(
        order_link_id=row["order_link_id"],
        intent=row["intent"],
        side=row["side"].lower(),
        qty=row["qty"],
        tag=row["tag"],
        reason=row["reason"],
        why=row["why"],
        decided_at=row["decided_at"],
        decision_price=row["decision_price"],
        average_price=row["avg_price"],
        slippage_bps=row["slippage_bps"],
    )


async def _stops(platform: Operations, trip: TripRow, accounts: list[int]) -> list[StopRow]:
    rows = await platform.history.rows(
        SQL["stops"],
        accounts,
        trip.symbol,
        trip.opened_at,
        trip.closed_at,
    )
    return [
        StopRow(
            created_at=row["created_at"],
            updated_at=row["updated_at"],
            kind=row["kind"],
            status=row["status"],
            side=row["side"].lower(),
            trigger_price=row["trigger_price"],
            qty=row["qty"],
            reason=row["reason"],
        )
        for row in rows
    ]


async def _levels(platform: Operations, trip: TripRow, accounts: list[int]) -> list[StopLevel]:
    rows = await platform.history.rows(
        SQL["stop_levels"],
        accounts,
        trip.symbol,
        trip.opened_at,
        trip.closed_at,
        MOST_LEVELS,
    )
    return [
        StopLevel(
            order_id=row["order_id"],
            since=row["since"],
            kind=row["kind"],
            trigger_price=row["trigger_price"],
            reason=row["reason"],
            until=row["until"],
        )
        for row in rows
    ]


async def _commands(platform: Operations, audit: Operations, trip: TripRow, accounts: list[int]) -> list[CommandRow]:
    """What people asked of this bot while the trade lived; nothing for a role that may not read the audit.

    The audit has the wall clock. A simulated exchange has a clock of its own: there the moments at which the fills were
    received tell when the trade lived.
    """
    if not await audit.history.value(SQL["may_read_commands"]):
        return []
    lived = await platform.history.rows(
        SQL["business_span"],
        accounts,
        trip.symbol,
        trip.opened_at,
        trip.closed_at,
    )
    if lived[0]["first"] is None:
        return []
    rows = await audit.history.rows(
        SQL["commands"],
        trip.bot,
        lived[0]["first"] - AROUND,
        lived[0]["last"] + AROUND,
    )
    return [command_of(row) for row in rows]
