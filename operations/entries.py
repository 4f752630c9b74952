"""Results by entry tag, and by exit reason and tag; what orders cost against the price at which they were decided."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from alpha.postgres.sql import queries
from alpha.registry import Bot
from operations.accounts import account_ids
from operations.context import Operations
from operations.formatting import bps, count, percent, ratio, span, usdt
from operations.market_costs import SIZE_NAMES, MarketCosts, market_blocks, market_costs
from operations.page import Block, Cell, Column, Page, Table, Tone, Words
from operations.pages import short
from operations.periods import Period

SQL = queries(__file__)


@dataclass(frozen=True, slots=True)
class TagRow:
    """Round trips of one bot under one name. Amounts in USDT."""

    bot: str
    reason: str
    tag: str
    trips: int
    win_rate_pct: Decimal
    average_net: Decimal
    net: Decimal
    profit_factor: Decimal | None
    held: timedelta


@dataclass(frozen=True, slots=True)
class Entries:
    """Both tables of a period."""

    period: Period
    entries: list[TagRow]
    exits: list[TagRow]


@dataclass(frozen=True, slots=True)
class CostRow:
    """Orders of one bot, symbol and kind. A cost is above zero: a buy filled above, a sell below the decision price, in bps."""

    bot: str
    symbol: str
    kind: str
    orders: int
    value_usdt: Decimal
    average_bps: Decimal
    median_bps: Decimal
    worst_bps: Decimal
    cost_usdt: Decimal


@dataclass(frozen=True, slots=True)
class CostGroup:
    """Orders of one hour of the day (UTC) or of one size, as in `CostRow`."""

    name: str
    orders: int
    value_usdt: Decimal
    average_bps: Decimal
    cost_usdt: Decimal


@dataclass(frozen=True, slots=True)
class Costs:
    """What orders cost: by bot, symbol and kind, by the hour at which they were decided, and by their size; and what their
    fills cost against the quotes around them.
    """

    rows: list[CostRow]
    hours: list[CostGroup]
    sizes: list[CostGroup]
    market: MarketCosts


#: Sizes in USDT that are told apart, and how they are written.
_SIZES = tuple(zip((100, 1_000, 10_000), SIZE_NAMES, strict=False))
_HOUR = "to_char(decided_at AT TIME ZONE 'UTC', 'HH24:00')"
_SIZE = (
    "CASE "
    + " ".join(f"WHEN filled_qty * decision_price < {most} THEN '{name}'" for most, name in _SIZES)
    + f" ELSE '{SIZE_NAMES[-1]}' END"
)

_FIGURES = """
count(*) AS trips, round(100.0 * count(*) FILTER (WHERE net > 0) / count(*), 2) AS win_rate_pct, avg(net) AS average_net,
sum(net) AS net, round(sum(net) FILTER (WHERE net > 0) / nullif(-sum(net) FILTER (WHERE net < 0), 0), 4) AS profit_factor,
avg(holding_time) AS held
"""


async def entries(platform: Operations, bot: Bot | None, period: Period) -> Entries:
    """Results of the round trips that closed in a period, most frequent first within each bot."""
    accounts = await account_ids(platform, bot)
    found = []
    for reason, tag in (("''", "entry_tag"), ("exit_reason", "exit_tag")):
        found.append(
            await platform.history.rows(
                f"SELECT bot_id, {reason} AS reason, {tag} AS tag, {_FIGURES} FROM trading.tagged_round_trips "  # noqa: S608 - our own names
                "WHERE account_id = ANY($1) AND closed_at >= $2 AND closed_at < $3 "
                "GROUP BY 1, 2, 3 ORDER BY 1, trips DESC, 2, 3",
                accounts,
                period.start,
                period.end,
            )
        )
    return Entries(period, [_tag_row(row) for row in found[0]], [_tag_row(row) for row in found[1]])


async def costs(platform: Operations, bot: Bot | None, period: Period) -> list[CostRow]:
    """What filled orders of a period cost against their decision price; dearest first."""
    rows = await platform.history.rows(
        SQL["costs"],
        await account_ids(platform, bot),
        period.start,
        period.end,
    )
    return [
        CostRow(
            bot=row["bot_id"],
            symbol=row["symbol"],
            kind=row["order_kind"],
            orders=row["orders"],
            value_usdt=row["value"],
            average_bps=row["average_bps"],
            median_bps=row["median_bps"],
            worst_bps=row["worst_bps"],
            cost_usdt=row["cost"],
        )
        for row in rows
    ]


async def all_costs(platform: Operations, bot: Bot | None, period: Period) -> Costs:
    """The costs of a period, grouped in each way."""
    hours = await _groups(platform, bot, period, _HOUR)
    sizes = {row.name: row for row in await _groups(platform, bot, period, _SIZE)}
    return Costs(
        await costs(platform, bot, period),
        hours,
        [sizes[name] for name in SIZE_NAMES if name in sizes],
        await market_costs(platform, bot, period),
    )


async def _groups(platform: Operations, bot: Bot | None, period: Period, expression: str) -> list[CostGroup]:
    rows = await platform.history.rows(
        f"SELECT {expression} AS name, count(*) AS orders, sum(filled_qty * decision_price) AS value, "  # noqa: S608 - our own
        "sum(slippage_bps * filled_qty * decision_price) / sum(filled_qty * decision_price) AS average_bps, "
        "sum(slippage_bps * filled_qty * decision_price) / 10000 AS cost "
        "FROM trading.order_intent_results WHERE account_id = ANY($1) AND decided_at >= $2 AND decided_at < $3 "
        "AND slippage_bps IS NOT NULL GROUP BY 1 ORDER BY 1",
        await account_ids(platform, bot),
        period.start,
        period.end,
    )
    return [CostGroup(row["name"], row["orders"], row["value"], row["average_bps"], row["cost"]) for row in rows]


def _tag_row(row: Any) -> TagRow:
    return TagRow(
        bot=row["bot_id"],
        reason=row["reason"],
        tag=row["tag"],
        trips=row["trips"],
        win_rate_pct=row["win_rate_pct"],
        average_net=row["average_net"],
        net=row["net"],
        profit_factor=row["profit_factor"],
        held=row["held"],
    )


def entries_page(seen: Entries) -> Page:
    """Both tables; a tag that the strategy did not give is a dash."""
    blocks: list[Block] = [
        _tag_table("By entry tag", "entry", seen.entries),
        _tag_table("By exit reason and tag", "exit", seen.exits),
        Words("USDT, net of fees and funding. Tags are the strategy's own names for its entries and exits.", Tone.DIM),
    ]
    return Page(f"Entries, {seen.period.label}", blocks, seen)


def _tag_table(title: str, first: str, rows: list[TagRow]) -> Table:
    columns = (
        Column("bot", phone=False),
        Column(first),
        Column("n", right=True),
        Column("won", right=True),
        Column("avg", right=True),
        Column("net", right=True),
        Column("pf", right=True, phone=False),
        Column("held", right=True, phone=False),
    )
    cells = [
        [
            Cell(short(row.bot)),
            Cell(" ".join(part for part in (row.reason, row.tag) if part) or "-"),
            count(row.trips),
            percent(row.win_rate_pct, signed=False, digits=0),
            usdt(row.average_net),
            usdt(row.net),
            ratio(row.profit_factor),
            span(row.held),
        ]
        for row in rows
    ]
    return Table(columns, cells, empty="No trade ended in this period.", title=title)


def costs_page(found: Costs, period: Period) -> Page:
    """What orders cost, and the sum."""
    rows = found.rows
    columns = (
        Column("bot", phone=False),
        Column("symbol"),
        Column("order"),
        Column("n", right=True),
        Column("bps", right=True),
        Column("median", right=True, phone=False),
        Column("worst", right=True, phone=False),
        Column("cost", right=True),
    )
    cells = [
        [
            Cell(short(row.bot)),
            Cell(row.symbol, mark=row.symbol.removesuffix("USDT")),
            Cell(row.kind),
            count(row.orders),
            bps(row.average_bps),
            bps(row.median_bps),
            bps(row.worst_bps),
            usdt(-row.cost_usdt),
        ]
        for row in rows
    ]
    value = sum((row.value_usdt for row in rows), Decimal(0))
    cost = sum((row.cost_usdt for row in rows), Decimal(0))
    said = (
        f"{bps(cost / value * 10_000).text} bps of {value:,.0f} USDT decided; a cost is above zero."
        if value
        else "Only orders of strategies whose decision price is recorded count."
    )
    blocks: list[Block] = [Table(columns, cells, empty="No order was filled in this period.")]
    if rows:
        blocks += [_cost_table("By hour, UTC", "hour", found.hours), _cost_table("By size, USDT", "size", found.sizes)]
    return Page(f"Slippage, {period.label}", [*blocks, Words(said, Tone.DIM), *market_blocks(found.market)], found)


def _cost_table(title: str, first: str, groups: list[CostGroup]) -> Table:
    columns = (
        Column(first),
        Column("n", right=True),
        Column("value", right=True, phone=False),
        Column("bps", right=True),
        Column("cost", right=True),
    )
    cells = [
        [Cell(one.name), count(one.orders), usdt(one.value_usdt), bps(one.average_bps), usdt(-one.cost_usdt)]
        for one in groups
    ]
    return Table(columns, cells, title=title)
