"""Rows of the history by page: filtered by bot, symbol, reason, tag and words, within a period, newest first."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from alpha.errors import Rejected
from alpha.registry import Bot
from operations.accounts import current_accounts
from operations.analytics import TripRow, trip_of
from operations.context import Operations
from operations.history import AlertRow, CommandRow, FillRow, command_of, fill_of
from operations.periods import Period

MOST_OFFSET = 100_000
#: Pages within so many rows are read bot by bot.
_MOST_OF_EACH = 1_000
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Filter:
    """What to show. Empty texts and None do not restrict; `words` must appear in one of a row's texts."""

    bot: Bot | None = None
    period: Period | None = None
    symbol: str = ""
    reason: str = ""
    tag: str = ""
    words: str = ""
    offset: int = 0
    limit: int = 50

    def __post_init__(self) -> None:
        """Rejected outside the bounds."""
        if not 0 <= self.offset <= MOST_OFFSET:
            raise Rejected(f"The page must begin between row 0 and {MOST_OFFSET:,}, got {self.offset}.")
        if not 1 <= self.limit <= 10_000:
            raise Rejected(f"Row count must be between 1 and 10,000, got {self.limit}.")


@dataclass(frozen=True, slots=True)
class Rows(Generic[T]):
    """One page of rows, and whether more follow."""

    rows: list[T]
    more: bool


class _Where:
    """Collects conditions and their values."""

    def __init__(self, *values: object) -> None:
        self.values: list[object] = list(values)
        self._parts: list[str] = []

    def add(self, condition: str, value: object) -> None:
        """Add a condition; `{}` is where the value goes."""
        self.values.append(value)
        self._parts.append(condition.replace("{}", f"${len(self.values)}"))

    def words(self, words: str, columns: tuple[str, ...]) -> None:
        """Add that each word appears in one of the columns, whatever its case."""
        for word in words.split()[:8]:
            pattern = "%" + word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
            self.add("(" + " OR ".join(f"{column} ILIKE {{}}" for column in columns) + ")", pattern)

    def period(self, column: str, period: Period | None) -> None:
        """Add the half-open interval of a period."""
        if period is not None:
            self.add(f"{column} >= {{}}", period.start)
            self.add(f"{column} < {{}}", period.end)

    @property
    def text(self) -> str:
        """The conditions, true if there are none."""
        return " AND ".join(self._parts) or "true"


async def _page(platform: Operations, select: str, where: _Where, order: str, asked: Filter) -> tuple[list[Any], bool]:
    rows = await platform.history.rows(
        f"{select} WHERE {where.text} ORDER BY {order} LIMIT {asked.limit + 1} OFFSET {asked.offset}",
        *where.values,
    )
    return rows[: asked.limit], len(rows) > asked.limit


async def _page_of_bots(
    platform: Operations, select: str, where: _Where, order: str, asked: Filter
) -> tuple[list[Any], bool]:
    """As `_page`, from the newest rows of each bot: its index ends after so many, where that of no bot knows the time."""
    until = asked.offset + asked.limit + 1
    if until > _MOST_OF_EACH:
        return await _page(platform, select, where, order, asked)
    rows = await platform.history.rows(
        f"SELECT x.* FROM unnest($1::text[]) AS wanted (bot_id) CROSS JOIN LATERAL ({select} "  # noqa: S608 - our own names
        f"WHERE x.bot_id = wanted.bot_id AND {where.text} ORDER BY {order} LIMIT {until}) AS x "
        f"ORDER BY {order} LIMIT {asked.limit + 1} OFFSET {asked.offset}",
        *where.values,
    )
    return rows[: asked.limit], len(rows) > asked.limit


async def _of_accounts(platform: Operations, asked: Filter) -> _Where:
    where = _Where()
    accounts = await current_accounts(platform, asked.bot)
    where.add("x.bot_id = ANY({})", [account.bot for account in accounts])
    where.add("x.account_id = ANY({})", [account.account_id for account in accounts])
    return where


async def trips(platform: Operations, asked: Filter) -> Rows[TripRow]:
    """Return closed trades, newest first."""
    where = await _of_accounts(platform, asked)
    where.period("x.closed_at", asked.period)
    if asked.symbol:
        where.add("x.symbol = {}", asked.symbol)
    if asked.reason:
        where.add("x.exit_reason = {}", asked.reason)
    if asked.tag:
        where.add(
            "EXISTS (SELECT FROM trading.order_intents AS i WHERE i.account_id = x.account_id AND i.symbol = x.symbol "
            "AND i.tag = {} AND i.decided_at >= x.opened_at - interval '1 day' AND i.decided_at <= x.closed_at)",
            asked.tag,
        )
    where.words(asked.words, ("x.symbol", "x.exit_reason", "x.bot_id", "x.direction", "x.trade_id"))
    rows, more = await _page(
        platform, "SELECT x.* FROM trading.position_summaries AS x", where, "x.closed_at DESC", asked
    )
    return Rows([trip_of(row) for row in rows], more)


async def fills(platform: Operations, asked: Filter) -> Rows[FillRow]:
    """Return executions, newest first."""
    where = await _of_accounts(platform, asked)
    where.period("x.exec_time", asked.period)
    if asked.symbol:
        where.add("x.symbol = {}", asked.symbol)
    if asked.reason:
        where.add("x.reason = {}", asked.reason)
    where.words(asked.words, ("x.symbol", "x.reason", "x.exec_type", "x.exec_id", "x.order_id", "x.order_link_id"))
    order = "x.exec_time DESC, x.seq DESC, x.exec_id DESC"
    rows, more = await _page_of_bots(platform, "SELECT x.* FROM trading.fills AS x", where, order, asked)
    return Rows([fill_of(row) for row in rows], more)


async def alerts(platform: Operations, asked: Filter) -> Rows[AlertRow]:
    """Return the alerts kept in PostgreSQL, newest first; their times are of the wall clock."""
    where = _Where()
    where.period("x.raised_at", asked.period)
    if asked.bot is not None:
        where.add("x.bot_id = {}", asked.bot.id)
    if asked.reason:
        where.add("x.level = {}", asked.reason)
    where.words(asked.words, ("x.message", "x.remedy", "x.code", "x.source", "x.bot_id", "x.level"))
    rows, more = await _page(platform, "SELECT x.* FROM audit.alerts AS x", where, "x.raised_at DESC", asked)
    return Rows(
        [
            AlertRow(
                row["raised_at"],
                row["level"],
                row["bot_id"] or "",
                row["source"],
                row["code"],
                f"{row['message']} {row['remedy']}".strip(),
            )
            for row in rows
        ],
        more,
    )


async def commands(platform: Operations, asked: Filter) -> Rows[CommandRow]:
    """Return command attempts, newest first; their times are of the wall clock."""
    where = _Where()
    where.period("x.issued_at", asked.period)
    if asked.bot is not None:
        where.add("x.bot_id = {}", asked.bot.id)
    where.words(
        asked.words, ("x.issuer", "x.name", "x.bot_id", "x.outcome", "x.answer", "x.source", "x.arguments::text")
    )
    rows, more = await _page(platform, "SELECT x.* FROM audit.commands AS x", where, "x.issued_at DESC", asked)
    return Rows([command_of(row) for row in rows], more)
