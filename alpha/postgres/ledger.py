"""Recomputes the ledgers: `verify` compares derived data with `trading.fills`, `rebuild` recreates it.

The rules are in the database (`trading.replay_fills`); this module runs them in steps, so that progress shows.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from alpha.config.services import DatabaseSettings
from alpha.postgres.database import POSTGRES_ERRORS, Connection, connect, explained, fetch_one
from alpha.postgres.sql import queries

SQL = queries(__file__)

#: Fills per step; one step takes about 0.2 s.
STEP = 20_000
#: How many ledgers are verified concurrently.
WORKERS = 2

#: Called after every step with the number of fills replayed in it.
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Ledger:
    """One account, category, symbol and leg."""

    account_id: int
    category: str
    symbol: str
    leg: str

    def __str__(self) -> str:
        name = f"account {self.account_id} {self.category} {self.symbol}"
        return name if self.leg == "both" else f"{name} {self.leg}"

    @property
    def key(self) -> tuple[int, str, str, str]:
        """The key as the database functions take it."""
        return self.account_id, self.category, self.symbol, self.leg


@dataclass(slots=True)
class Findings:
    """The result of a verification: how much was compared, and one sentence per difference."""

    fills: int = 0
    trips: int = 0
    days: int = 0
    exits: int = 0
    differences: list[str] = field(default_factory=list)


async def count_fills(settings: DatabaseSettings, since: datetime | None = None) -> int:
    """The number of stored fills, from a moment on."""
    connection = await connect(settings, "books")
    try:
        number: int = await connection.fetchval(
            SQL["count_fills"],
            since,
            timeout=3600,
        )
    finally:
        await connection.close()
    return number


async def verify(settings: DatabaseSettings, progress: Progress, *, since: datetime | None = None) -> Findings:
    """Recompute states, round trips and totals from every fill, and compare to the last digit.

    With `since`, each ledger begins at its last checkpoint of a day before it, which is taken as true. Changes nothing and blocks nobody: it reads one snapshot of the database. Requires the owner's role.
    Raises Retry or Misconfigured as `connect` does.
    """
    keeper = await connect(settings, "verify")
    try:
        async with keeper.transaction(isolation="repeatable_read", readonly=True):
            snapshot = await keeper.fetchval(SQL["export_snapshot"])
            ledgers = [Ledger(*row) for row in await keeper.fetch(SQL["ledgers"])]
            findings = Findings()
            waiting = iter(ledgers)

            async def work() -> None:
                connection = await connect(settings, "verify")
                try:
                    async with connection.transaction(isolation="repeatable_read", readonly=True):
                        await connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
                        for ledger in waiting:
                            await _verify_ledger(connection, ledger, findings, progress, since)
                finally:
                    await connection.close()

            await asyncio.gather(*(work() for _ in range(min(WORKERS, len(ledgers)))))
    except POSTGRES_ERRORS as fault:
        raise explained(fault, settings) from None
    finally:
        await keeper.close()
    return findings


async def _verify_ledger(
    connection: Connection, ledger: Ledger, findings: Findings, progress: Progress, since: datetime | None
) -> None:
    days: Cells = {}
    exits: Cells = {}
    state: str | None = None if since is None else await connection.fetchval(SQL["checkpoint"], *ledger.key, since)
    begin = None if state is None else await connection.fetchval(SQL["day_after"], state)
    while True:
        step = await fetch_one(
            connection,
            SQL["verify_step"],
            *ledger.key,
            state,
            STEP,
            timeout=600,
        )
        state = step["state"]
        findings.fills += step["replayed"]
        findings.trips += step["trips"]
        if step["missing"] or step["wrong"]:
            findings.differences.append(
                f"{ledger}: up to {step['at']:%Y-%m-%d %H:%M}, {step['missing']} round trips are missing or differ, "
                f"{step['wrong']} are stored and wrong."
            )
        if step["wrong_checkpoints"]:
            findings.differences.append(
                f"{ledger}: up to {step['at']:%Y-%m-%d %H:%M}, {step['wrong_checkpoints']} checkpoints are wrong."
            )
        for row in step["days"]:
            _add(days, (row["day"],), row)
        for row in step["exits"]:
            _add(exits, (row["day"], row["exit_reason"]), row)
        progress(step["replayed"])
        if step["replayed"] < STEP:
            break
    findings.days += len(days)
    findings.exits += len(exits)
    same = await connection.fetchval(SQL["is_same_state"], *ledger.key, state)
    waits_from = await connection.fetchval(SQL["waits_from"], *ledger.key)
    if waits_from is not None:
        findings.differences.append(f"{ledger}: waits for its recomputation from {_day_or_first(waits_from)} on.")
    elif not same:
        findings.differences.append(f"{ledger}: the state after the last fill differs.")
    # what is older than the floor was verified before it was archived, and cannot be recomputed
    floor = begin or await connection.fetchval(SQL["floor"], ledger.account_id)
    await _compare(connection, ledger, "daily_totals", floor, days, findings)
    await _compare(connection, ledger, "daily_exits", floor, exits, findings)


def _day_or_first(moment: datetime) -> str:
    return "the first fill" if moment.year == 1 else f"{moment:%Y-%m-%d %H:%M}"


#: Each cell's sums, by column name.
Cells = dict[tuple[Any, ...], dict[str, Any]]
_KEYS = frozenset({"account_id", "category", "symbol", "leg", "day", "exit_reason"})
_SAME = frozenset({"settle_coin"})
_CELLS = {"daily_totals": ("day",), "daily_exits": ("day", "exit_reason")}


def _add(cells: Cells, cell: tuple[Any, ...], row: Any) -> None:
    values = {name: value for name, value in row.items() if name not in _KEYS}
    sums = cells.get(cell)
    if sums is None:
        cells[cell] = values
        return
    for name, value in values.items():
        if name == "best":
            sums[name] = max(sums[name], value)
        elif name == "worst":
            sums[name] = min(sums[name], value)
        elif name not in _SAME:
            sums[name] += value


async def _compare(
    connection: Connection,
    ledger: Ledger,
    table: str,
    floor: date,
    computed: Cells,
    findings: Findings,
) -> None:
    rows = await connection.fetch(
        f"SELECT * FROM trading.{table} WHERE account_id = $1 AND category = $2 AND symbol = $3 AND leg = $4 AND day >= $5",  # noqa: S608 - our own names
        *ledger.key,
        floor,
    )
    stored: Cells = {}
    for row in rows:
        _add(stored, tuple(row[name] for name in _CELLS[table]), row)
    for cell in sorted(set(stored) | set(computed)):
        if stored.get(cell) != computed.get(cell):
            name = " ".join(map(str, cell))
            findings.differences.append(f"{ledger}: {table} of {name} differ from the fills.")


@dataclass(frozen=True, slots=True)
class ExecPnl:
    """Our gross P&L against Bybit's `execPnl`: round trips compared, those beyond the tolerance, the worst."""

    compared: int
    differing: int
    worst: Decimal


async def compare_exec_pnl(settings: DatabaseSettings, allowed: Decimal) -> ExecPnl:
    """Compare every round trip whose exits all carry Bybit's own P&L; `allowed` is in USDT per round trip.

    Bybit rounds its average entry price, so small differences stem from Bybit.
    """
    connection = await connect(settings, "verify")
    try:
        row = await fetch_one(
            connection,
            SQL["exec_pnl"],
            allowed,
            timeout=3600,
        )
    except POSTGRES_ERRORS as fault:
        raise explained(fault, settings) from None
    finally:
        await connection.close()
    return ExecPnl(*row)


async def rebuild(settings: DatabaseSettings, progress: Progress, *, since: datetime | None = None) -> int:
    """Recreate states, round trips and totals from every fill; returns the number of ledgers.

    With `since`, only from each ledger's last checkpoint of a day before it.

    Runs in steps, each a transaction that locks its ledger only while writing: readers see the figures of a ledger as
    provisional until it is done, and the listener continues. An interrupted rebuild is finished by the next one or by
    the listener. Requires the owner's role.
    """
    connection = await connect(settings, "rebuild")
    try:
        ledgers = [Ledger(*row) for row in await connection.fetch(SQL["ledgers"])]
        for ledger in ledgers:
            await connection.execute(SQL["mark"], *ledger.key, since, timeout=600)
            done = False
            while not done:
                replayed, done = await fetch_one(
                    connection,
                    SQL["recompute_step"],
                    *ledger.key,
                    STEP,
                    timeout=600,
                )
                progress(replayed)
    except POSTGRES_ERRORS as fault:
        raise explained(fault, settings) from None
    finally:
        await connection.close()
    return len(ledgers)
