"""Recomputing the books: `verify` compares everything with `trading.fills`, `rebuild` makes it anew.

The rules are in the database (`trading.walk`); here they are driven a stretch at a time, so that progress shows.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from alpha.config.services import DatabaseSettings
from alpha.postgres.database import POSTGRES_ERRORS, Connection, connect, explained

#: Fills a step: about a third of a second.
STEP = 50_000
#: How many accounts and symbols are worked on at once.
WORKERS = 2

#: Told after every step how many fills were walked in it.
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Book:
    """One account and symbol."""

    account_id: int
    category: str
    symbol: str

    def __str__(self) -> str:
        return f"account {self.account_id} {self.category} {self.symbol}"


@dataclass(slots=True)
class Findings:
    """What a verification found: how much was compared, and one sentence a difference."""

    fills: int = 0
    trips: int = 0
    days: int = 0
    exits: int = 0
    differences: list[str] = field(default_factory=list)


async def count_fills(settings: DatabaseSettings) -> int:
    """How many fills there are."""
    connection = await connect(settings, "books")
    try:
        number: int = await connection.fetchval("SELECT count(*) FROM trading.fills WHERE category = 'linear'")
    finally:
        await connection.close()
    return number


async def verify(settings: DatabaseSettings, progress: Progress) -> Findings:
    """Recompute states, round trips and totals from every fill and compare, to the last digit.

    Changes nothing and blocks nobody: all of it sees the database as it was at one instant. Needs the owner's role.
    Raises Retry or Misconfigured as `connect` does.
    """
    keeper = await connect(settings, "verify")
    try:
        async with keeper.transaction(isolation="repeatable_read", readonly=True):
            snapshot = await keeper.fetchval("SELECT pg_export_snapshot()")
            books = [Book(*row) for row in await keeper.fetch("SELECT * FROM trading.books() ORDER BY 1, 2, 3")]
            findings = Findings()
            waiting = iter(books)

            async def work() -> None:
                connection = await connect(settings, "verify")
                try:
                    async with connection.transaction(isolation="repeatable_read", readonly=True):
                        await connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
                        for book in waiting:
                            await _verify_book(connection, book, findings, progress)
                finally:
                    await connection.close()

            await asyncio.gather(*(work() for _ in range(min(WORKERS, len(books)))))
    except POSTGRES_ERRORS as fault:
        raise explained(fault, settings) from None
    finally:
        await keeper.close()
    return findings


async def _verify_book(connection: Connection, book: Book, findings: Findings, progress: Progress) -> None:
    key = (book.account_id, book.category, book.symbol)
    days: dict[tuple[Any, ...], list[Decimal]] = defaultdict(list)
    exits: dict[tuple[Any, ...], list[Decimal]] = defaultdict(list)
    state: str | None = None
    while True:
        step = await connection.fetchrow(
            "SELECT * FROM trading.verify_step($1, $2, $3, $4, $5)", *key, state, STEP, timeout=600
        )
        state = step["state"]
        findings.fills += step["walked"]
        findings.trips += step["trips"]
        if step["missing"] or step["wrong"]:
            findings.differences.append(
                f"{book}: up to {step['at']:%Y-%m-%d %H:%M}, {step['missing']} round trips are missing or differ, "
                f"{step['wrong']} are stored and wrong."
            )
        for row in step["days"]:
            days[row["day"],] = _added(days[row["day"],], list(row.values())[4:])
        for row in step["exits"]:
            cell = (row["day"], row["exit_reason"])
            exits[cell] = _joined(exits[cell], list(row.values())[5:])
        progress(step["walked"])
        if step["walked"] < STEP:
            break
    findings.days += len(days)
    findings.exits += len(exits)
    same = await connection.fetchval(
        "SELECT s IS NOT DISTINCT FROM $4::text::trading.position_states FROM trading.position_states s "
        "WHERE account_id = $1 AND category = $2 AND symbol = $3",
        *key,
        state,
    )
    redo = await connection.fetchval(
        "SELECT redo_time FROM trading.position_states WHERE account_id = $1 AND category = $2 AND symbol = $3", *key
    )
    if redo is not None:
        findings.differences.append(f"{book}: late fills from {redo:%Y-%m-%d %H:%M} on wait to be taken in.")
    elif not same:
        findings.differences.append(f"{book}: the state after the last fill differs.")
    await _compare(connection, book, "trading.daily_totals", 4, days, findings)
    await _compare(connection, book, "trading.daily_exits", 5, exits, findings)


def _added(sums: list[Decimal], values: list[Decimal]) -> list[Decimal]:
    return [old + new for old, new in zip(sums, values, strict=True)] if sums else values


def _joined(sums: list[Decimal], values: list[Decimal]) -> list[Decimal]:
    """As `_added`; the columns `best` and `worst` (5 and 6 of the sums) are the larger and the smaller."""
    if not sums:
        return values
    added = _added(sums, values)
    return [*added[:5], max(sums[5], values[5]), min(sums[6], values[6]), *added[7:]]


async def _compare(
    connection: Connection,
    book: Book,
    table: str,
    keys: int,
    computed: dict[tuple[Any, ...], list[Decimal]],
    findings: Findings,
) -> None:
    rows = await connection.fetch(
        f"SELECT * FROM {table} WHERE account_id = $1 AND category = $2 AND symbol = $3",  # noqa: S608 - our own names
        book.account_id,
        book.category,
        book.symbol,
    )
    stored = {tuple(row.values())[3:keys]: list(row.values())[keys:] for row in rows}
    for cell in sorted(set(stored) | set(computed)):
        if stored.get(cell) != computed.get(cell):
            name = " ".join(map(str, cell))
            findings.differences.append(f"{book}: {table.removeprefix('trading.')} of {name} differ from the fills.")


@dataclass(frozen=True, slots=True)
class ExecPnl:
    """Our gross P&L beside Bybit's `execPnl`: round trips compared, those that differ by more than allowed, the worst."""

    compared: int
    differing: int
    worst: Decimal


async def compare_exec_pnl(settings: DatabaseSettings, allowed: Decimal) -> ExecPnl:
    """Compare every round trip whose exits all carry Bybit's own P&L; `allowed` is in USDT a round trip.

    Bybit rounds its average entry price, so that small differences are its, not ours.
    """
    connection = await connect(settings, "verify")
    try:
        row = await connection.fetchrow(
            "SELECT count(*), count(*) FILTER (WHERE abs(c.difference) > $1), coalesce(max(abs(c.difference)), 0) "
            "FROM trading.bots b, trading.exec_pnl_check(b.bot_id, '-infinity', 'infinity') c",
            allowed,
            timeout=3600,
        )
    except POSTGRES_ERRORS as fault:
        raise explained(fault, settings) from None
    finally:
        await connection.close()
    return ExecPnl(*row)


async def rebuild(settings: DatabaseSettings, progress: Progress) -> int:
    """Make states, round trips and totals anew from every fill; returns the number of accounts and symbols.

    Each account and symbol in a transaction of its own: readers see the old figures until it is done, and the listener
    waits for it with fills of that symbol alone. Needs the owner's role.
    """
    connection = await connect(settings, "rebuild")
    try:
        books = [Book(*row) for row in await connection.fetch("SELECT * FROM trading.books() ORDER BY 1, 2, 3")]
        for book in books:
            key = (book.account_id, book.category, book.symbol)
            async with connection.transaction():
                await connection.execute("SELECT trading.rebuild_start($1, $2, $3)", *key, timeout=600)
                walked = STEP
                while walked == STEP:
                    walked = await connection.fetchval(
                        "SELECT trading.rebuild_step($1, $2, $3, $4)", *key, STEP, timeout=600
                    )
                    progress(walked)
    except POSTGRES_ERRORS as fault:
        raise explained(fault, settings) from None
    finally:
        await connection.close()
    return len(books)
