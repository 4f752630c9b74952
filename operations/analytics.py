"""Trading results: round trips, days, weeks and months, performance over a period, and exit reasons."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from alpha.errors import Misconfigured, Rejected
from alpha.model.coin import USDC, USDT, settle_coin
from alpha.model.money import ZERO
from alpha.postgres.sql import queries
from alpha.registry import Bot
from operations.accounts import CurrentAccount, account_ids, current_accounts
from operations.context import Operations
from operations.history import row_count
from operations.periods import Period

SQL = queries(__file__)

#: A chart is a few hundred pixels wide: more points only make it slower.
CURVE_POINTS = 400
#: With many accounts a curve has fewer points: so many snapshots are looked up for all together.
_MOST_PROBES, _LEAST_POINTS = 7_500, 60


@dataclass(frozen=True, slots=True)
class TripRow:
    """One position from flat to flat. Amounts in `coin`, `return_pct` of the entry value."""

    bot: str
    symbol: str
    direction: str
    opened_at: datetime
    closed_at: datetime
    held: timedelta
    size: Decimal
    entry_price: Decimal
    exit_price: Decimal
    gross: Decimal
    fees: Decimal
    funding: Decimal
    net: Decimal
    return_pct: Decimal | None
    reason: str
    fills: int
    provisional: bool
    trade_id: str

    @property
    def coin(self) -> str:
        """The settle coin of the symbol."""
        return settle_coin(self.symbol)


@dataclass(frozen=True, slots=True)
class Performance:
    """The performance of one bot's account in one settle coin over a period. Amounts in `coin`, `_pct` in per cent.

    None where the history cannot say: no trades to divide by, no equity to measure against.
    """

    bot: str
    environment: str
    net: Decimal
    gross: Decimal
    fees: Decimal
    funding: Decimal
    return_pct: Decimal | None
    trips: int
    wins: int
    losses: int
    win_rate_pct: Decimal | None
    profit_factor: Decimal | None
    expectancy: Decimal | None
    sharpe: Decimal | None
    sortino: Decimal | None
    max_drawdown_pct: Decimal | None
    volume: Decimal
    fills: int
    coin: str = USDT


@dataclass(frozen=True, slots=True)
class ReasonRow:
    """Exit reasons of round trips in one settle coin over a period."""

    bot: str
    reason: str
    trips: int
    share_pct: Decimal
    win_rate_pct: Decimal | None
    average_net: Decimal | None
    net: Decimal
    held: timedelta | None
    profit_factor: Decimal | None
    coin: str = USDT


@dataclass(frozen=True, slots=True)
class SymbolRow:
    """The result of one symbol over a period."""

    bot: str
    symbol: str
    trips: int
    win_rate_pct: Decimal | None
    fees: Decimal
    funding: Decimal
    net: Decimal

    @property
    def coin(self) -> str:
        """The settle coin of the symbol."""
        return settle_coin(self.symbol)


@dataclass(frozen=True, slots=True)
class SpanRow:
    """The result of one UTC day, week (from Monday) or month in one settle coin, cash basis."""

    bot: str
    start: date
    fills: int
    trips: int
    wins: int
    losses: int
    volume: Decimal
    gross: Decimal
    fees: Decimal
    funding: Decimal
    net: Decimal
    coin: str = USDT


@dataclass(frozen=True, slots=True)
class EquityPoint:
    """Equity at an exchange time, in one settle coin, and the drawdown from its previous peak, per cent, zero or below."""

    time: datetime
    equity: Decimal
    drawdown_pct: Decimal


@dataclass(frozen=True, slots=True)
class OtherFees:
    """Fees paid in another coin than the settle coin (MNT); no part of `fees` and `net`.

    `value` is what of `amount` has a price, in USDT at the price of each fill's moment; `unvalued` is the rest.
    """

    bot: str
    currency: str
    amount: Decimal
    value: Decimal
    unvalued: Decimal


@dataclass(frozen=True, slots=True)
class Analytics:
    """Everything about one bot, or all, over a period."""

    period: Period
    performance: list[Performance]
    reasons: list[ReasonRow]
    symbols: list[SymbolRow]
    equity: list[EquityPoint]
    #: The coin of `equity`: USDT where there is any.
    equity_coin: str = USDT
    other_fees: list[OtherFees] = field(default_factory=list)


async def trades(platform: Operations, bot: Bot | None = None, count: int = 10) -> list[TripRow]:
    """Return the newest closed round trips, newest first."""
    accounts = await current_accounts(platform, bot)
    rows = await platform.history.rows(
        SQL["last_trades"],
        [account.bot for account in accounts],
        [account.account_id for account in accounts],
        row_count(count),
    )
    return [trip_of(row) for row in rows]


async def trades_in(platform: Operations, bot: Bot | None, period: Period) -> list[TripRow]:
    """Return all round trips that closed in a period, oldest first."""
    rows = await platform.history.rows(
        SQL["trades"],
        [each.id for each in platform.bots(bot)],
        await account_ids(platform, bot),
        period.start,
        period.end,
    )
    return [trip_of(row) for row in rows]


def trip_of(row: Any) -> TripRow:
    """Convert a row of trading.position_summaries."""
    return TripRow(
        bot=row["bot_id"],
        symbol=row["symbol"],
        direction=row["direction"],
        opened_at=row["opened_at"],
        closed_at=row["closed_at"],
        held=row["holding_time"],
        size=row["max_qty"],
        entry_price=row["entry_price"],
        exit_price=row["exit_price"],
        gross=row["gross"],
        fees=row["fees"],
        funding=row["funding"],
        net=row["net"],
        return_pct=row["return_pct"],
        reason=row["exit_reason"],
        fills=row["fills"],
        provisional=row["provisional"],
        trade_id=row["trade_id"],
    )


async def _ask(platform: Operations, accounts: list[CurrentAccount], period: Period, function: str) -> list[Any]:
    """Call one of the database's period functions for these accounts, in their order, with a single query."""
    rows = await platform.history.rows(
        f"SELECT found.* FROM unnest($1::text[], $2::smallint[]) AS wanted (bot_id, account_id) "  # noqa: S608 - our own names
        f"CROSS JOIN LATERAL trading.{function}(wanted.bot_id, $3, $4) AS found WHERE found.account_id = wanted.account_id",
        [account.bot for account in accounts],
        [account.account_id for account in accounts],
        period.start.date(),
        period.end.date(),
    )
    order = {account.account_id: number for number, account in enumerate(accounts)}
    # the rows of an account keep their order: USDT first
    return sorted(rows, key=lambda row: order[row["account_id"]])


async def performance(platform: Operations, bot: Bot | None, period: Period) -> list[Performance]:
    """Return the performance of each bot's current account over a period, in registry order."""
    return await _performances(platform, await current_accounts(platform, bot), period)


async def _performances(platform: Operations, accounts: list[CurrentAccount], period: Period) -> list[Performance]:
    return [_performance(row) for row in await _ask(platform, accounts, period, "bot_performance")]


def _performance(row: Any) -> Performance:
    return Performance(
        bot=row["bot_id"],
        environment=row["environment"],
        net=row["net"],
        gross=row["gross"],
        fees=row["fees"],
        funding=row["funding"],
        return_pct=row["return_pct"],
        trips=row["round_trips"],
        wins=row["wins"],
        losses=row["losses"],
        win_rate_pct=_pct(row["win_rate"]),
        profit_factor=row["profit_factor"],
        expectancy=row["expectancy"],
        sharpe=row["sharpe"],
        sortino=row["sortino"],
        max_drawdown_pct=row["max_drawdown_pct"],
        volume=row["volume"],
        fills=row["fills"],
        coin=row.get("settle_coin", USDT),
    )


def _pct(share: Decimal | None) -> Decimal | None:
    return None if share is None else share * 100


async def reasons(platform: Operations, bot: Bot | None, period: Period) -> list[ReasonRow]:
    """Return exit reasons of round trips, most frequent first within each bot."""
    return await _reasons(platform, await current_accounts(platform, bot), period)


async def _reasons(platform: Operations, accounts: list[CurrentAccount], period: Period) -> list[ReasonRow]:
    return [
        ReasonRow(
            bot=row["bot_id"],
            reason=row["exit_reason"],
            trips=row["round_trips"],
            share_pct=row["share"] * 100,
            win_rate_pct=_pct(row["win_rate"]),
            average_net=row["average_net"],
            net=row["total_net"],
            held=row["average_holding"],
            profit_factor=row["profit_factor"],
            coin=row.get("settle_coin", USDT),
        )
        for row in await _ask(platform, accounts, period, "exit_reasons")
    ]


async def _symbols(platform: Operations, accounts: list[CurrentAccount], period: Period) -> list[SymbolRow]:
    """Return the result of each symbol, by symbol within each bot."""
    return [
        SymbolRow(
            bot=row["bot_id"],
            symbol=row["symbol"],
            trips=row["round_trips"],
            win_rate_pct=_pct(row["win_rate"]),
            fees=row["fees"],
            funding=row["funding"],
            net=row["net"],
        )
        for row in await _ask(platform, accounts, period, "symbol_results")
    ]


async def equity_curve(platform: Operations, bot: Bot | None, period: Period, coin: str = USDT) -> list[EquityPoint]:
    """Return equity in one settle coin over a period, summed over these bots, in at most `CURVE_POINTS` points.

    Snapshots are thinned; for long periods the last of each day is used. The curve begins with the equity at the
    period's start, as in `trading.bot_performance`, if known. Each account counts from its first snapshot on, with the
    last value known at each point. Transfers are not removed; `trading.bot_performance` removes them.
    """
    return await _equity(platform, await current_accounts(platform, bot), period, coin)


async def _equity(platform: Operations, current: list[CurrentAccount], period: Period, coin: str) -> list[EquityPoint]:
    return curve_of(await _equity_rows(platform, current, period, coin))


async def equity_curves(
    platform: Operations, period: Period, coin: str = USDT
) -> tuple[list[EquityPoint], dict[str, list[EquityPoint]]]:
    """Return the curve of all bots together and that of each bot, as `equity_curve` does, from one query."""
    current = await current_accounts(platform)
    rows = await _equity_rows(platform, current, period, coin)
    own: dict[int, list[_PlacedEquity]] = {account.account_id: [] for account in current}
    for row in rows:
        own[row[1]].append(row)
    return curve_of(rows), {account.bot: curve_of(own[account.account_id]) for account in current}


async def _equity_rows(
    platform: Operations, current: list[CurrentAccount], period: Period, coin: str
) -> list["_PlacedEquity"]:
    accounts = [account.account_id for account in current]
    places = max(_LEAST_POINTS, _MOST_PROBES // max(1, len(accounts)))
    try:
        if period.days > CURVE_POINTS:
            first, last = period.start.date(), period.end.date()
            begins = await platform.history.value(SQL["first_day_of_equity"], accounts, first, last, coin)
            step = 1 if begins is None else -(-(last - begins).days // places)
            rows = await platform.history.rows(SQL["daily_points"], accounts, first, last, coin, step)
        else:
            arguments = (period.start, period.end, min(CURVE_POINTS, places), coin)
            rows = await platform.history.rows(SQL["snapshot_points"], accounts, *arguments)
    except Misconfigured:
        # a schema of the release before, which knows no coins: the figures are shown without a chart
        return []
    return [(row["place"], row["account_id"], row["taken_at"], row["equity"]) for row in rows]


#: Place on the curve, account, when, equity.
_PlacedEquity = tuple[int, int, datetime, Decimal]


def curve_of(rows: list[_PlacedEquity]) -> list[EquityPoint]:
    """Return one point per place with a newer moment, from the last known equity of each account; starts where all are known."""
    accounts = {account for _, account, _, _ in rows}
    known: dict[int, Decimal] = {}
    points: list[EquityPoint] = []
    highest: Decimal | None = None
    for number, (place, account, taken_at, equity) in enumerate(rows):
        known[account] = equity
        ends_place = number + 1 == len(rows) or rows[number + 1][0] != place
        if not ends_place or len(known) < len(accounts) or (points and points[-1].time == taken_at):
            # not all are known yet, or there is no snapshot since the place before
            continue
        total = sum(known.values(), ZERO)
        highest = total if highest is None or total > highest else highest
        drawdown = (total / highest - 1) * 100 if highest > 0 else ZERO
        points.append(EquityPoint(taken_at, total, drawdown))
    return points


async def analytics(platform: Operations, bot: Bot | None, period: Period) -> Analytics:
    """Return everything about these bots over a period; the queries run concurrently."""
    accounts = await current_accounts(platform, bot)
    figures, why, what, fees, equity = await asyncio.gather(
        _performances(platform, accounts, period),
        _reasons(platform, accounts, period),
        _symbols(platform, accounts, period),
        _other_fees(platform, accounts, period),
        _equity(platform, accounts, period, USDT),
    )
    coin = USDT
    if not equity and any(row.coin == USDC for row in figures):
        coin, equity = USDC, await _equity(platform, accounts, period, USDC)
    return Analytics(period, figures, why, what, equity, coin, fees)


async def other_fees(platform: Operations, bot: Bot | None, period: Period) -> list[OtherFees]:
    """Return what these bots paid of their fees in another coin than the settle coin."""
    return await _other_fees(platform, await current_accounts(platform, bot), period)


async def _other_fees(platform: Operations, accounts: list[CurrentAccount], period: Period) -> list[OtherFees]:
    try:
        rows = await _ask(platform, accounts, period, "other_fees")
    except Misconfigured:
        return []
    return [OtherFees(row["bot_id"], row["currency"], row["amount"], row["value"], row["unvalued"]) for row in rows]


async def spans(platform: Operations, kind: str, bot: Bot | None, count: int, now: datetime) -> list[SpanRow]:
    """Return the last `count` UTC days ("daily"), weeks from Monday ("weekly") or months ("monthly") up to `now`.

    Oldest first. Spans without any activity of a bot have no row.
    """
    row_count(count)
    unit = {"daily": "day", "weekly": "week", "monthly": "month"}[kind]
    first = first_day(kind, count, now.astimezone(UTC).date())
    last = now.astimezone(UTC).date() + timedelta(days=1)
    accounts = await current_accounts(platform, bot)
    order = {account.bot: number for number, account in enumerate(accounts)}
    rows = await platform.history.rows(
        SQL["by_period"],
        list(order),
        [account.account_id for account in accounts],
        first,
        last,
        unit,
    )
    return sorted((_span(row) for row in rows), key=lambda row: (row.start, order[row.bot], row.coin != USDT))


@dataclass(frozen=True, slots=True)
class DayNet:
    """The net of some bots together on one UTC day in one settle coin, cash basis."""

    start: date
    coin: str
    net: Decimal


async def day_nets(platform: Operations, bot: Bot | None, period: Period) -> list[DayNet]:
    """Return the net of each day of a period, of these bots together, by day, USDT first. Days without activity have no row."""
    rows = await platform.history.rows(
        SQL["day_nets"], await account_ids(platform, bot), period.start.date(), period.end.date()
    )
    return [DayNet(row["start"], row["coin"], row["net"]) for row in rows]


def _span(row: Any) -> SpanRow:
    return SpanRow(
        bot=row["bot_id"],
        start=row["start"],
        fills=row["fills"],
        trips=row["trips"],
        wins=row["wins"],
        losses=row["losses"],
        volume=row["volume"],
        gross=row["gross"],
        fees=row["fees"],
        funding=row["funding"],
        net=row["net"],
        coin=row["coin"],
    )


def first_day(kind: str, count: int, today: date) -> date:
    """The first day of the last `count` spans, including today's."""
    try:
        if kind == "daily":
            return today - timedelta(days=count - 1)
        if kind == "weekly":
            return today - timedelta(days=today.weekday() + 7 * (count - 1))
        month = today.year * 12 + today.month - count
        return date(month // 12, month % 12 + 1, 1)
    except (OverflowError, ValueError):
        raise Rejected(f"{count} is too many. Ask for fewer.") from None
