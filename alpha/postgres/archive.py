"""Moves fills that are older than the exchange keeps out of PostgreSQL, into Parquet files.

    archived = await archive(settings, before, folder, progress)     # the owner, straight to PostgreSQL

Per account: the state of each ledger at the floor is kept and the floor is set, from which on nothing older is stored again; a
file per UTC month is written, fsynced, read back and compared; only when all of them hold every row are rows removed, in steps. The
quotes around the fills (`trading.fill_quotes`) go with them, into files beside. A run that was killed is continued by the next one
with the same folder. `polars` is loaded only here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from alpha.config.services import DatabaseSettings
from alpha.errors import Fatal, Misconfigured, Rejected
from alpha.postgres.database import POSTGRES_ERRORS, Connection, connect, explained, fetch_one
from alpha.postgres.partition import only_one
from alpha.postgres.short_lock import briefly
from alpha.postgres.sql import queries

if TYPE_CHECKING:
    import polars as pl

SQL = queries(__file__)

#: Bybit gives back executions of the last two years: what is younger must be able to be read again.
KEPT = timedelta(days=730)
#: Rows removed per transaction.
STEP = 5_000
#: Amounts in the files: 38 digits, 18 of them after the point. What does not fit exactly is refused.
DIGITS, PLACES = 38, 18
_TRIGGER = "refuse_below_floor"

#: Called with the number of rows written or removed since the last call.
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Archived:
    """What was moved of one account: how many fills, before which floor, to which folder."""

    account_id: int
    fills: int
    floor: datetime
    folder: Path


def _now() -> datetime:
    return datetime.now(UTC)


async def archive(
    settings: DatabaseSettings,
    before: datetime,
    folder: Path,
    progress: Progress,
    *,
    now: Callable[[], datetime] = _now,
) -> list[Archived]:
    """Archive what happened before this UTC midnight, of every account that has such fills; what was begun is finished first.

    Raises Misconfigured for a day within the two years before an account's newest fill (or before now), for a ledger that waits
    for its recomputation and a folder that cannot be written, Fatal when a file is not equal to the table. Rows are removed
    only after every file of the account was read back.
    """
    if before.tzinfo is None or before != before.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0):
        raise Misconfigured(f"{before} is not a UTC midnight. Name a day as 2023-01-01.")
    folder = Path(os.path.abspath(folder))  # noqa: ASYNC240 - does not look at the disk
    connection = await connect(settings, "archive")
    try:
        await only_one(connection)
        done = [await _finish(connection, row, progress) for row in await connection.fetch(SQL["unfinished"])]
        for row in await connection.fetch(SQL["accounts"], before):
            newest = min(row["newest"], now())
            if before > newest - KEPT:
                raise Misconfigured(
                    f"--before {before:%Y-%m-%d} is within two years before {newest:%Y-%m-%d}, the newest fill of account "
                    f"{row['account_id']}: Bybit still keeps those. Choose {newest - KEPT:%Y-%m-%d} or earlier."
                )
        for row in await connection.fetch(SQL["accounts"], before):
            await _raise_floor(connection, row["account_id"], before, folder)
            begun = await connection.fetch(SQL["unfinished"])
            done.append(await _finish(connection, begun[0], progress))
    except POSTGRES_ERRORS as fault:
        if getattr(fault, "sqlstate", "") == "AL002":
            raise Misconfigured(str(fault)) from None
        raise explained(fault, settings) from None
    finally:
        await connection.close()
    return done


async def _raise_floor(connection: Connection, account: int, floor: datetime, folder: Path) -> None:
    """Set the floor, with the trigger that holds it. Writers of older fills have ended by then; none begins after."""

    async def work() -> None:
        await connection.execute("LOCK TABLE trading.fills IN SHARE ROW EXCLUSIVE MODE")
        highest = await connection.fetchval(SQL["highest_floor"], floor)
        # everything newer passes by this comparison alone: the function is called for what is older only
        await connection.execute(
            f"DROP TRIGGER IF EXISTS {_TRIGGER} ON trading.fills; "
            f"CREATE TRIGGER {_TRIGGER} BEFORE INSERT OR UPDATE ON trading.fills FOR EACH ROW "
            f"WHEN (NEW.exec_time < '{highest.isoformat()}'::timestamptz) EXECUTE FUNCTION trading.refuse_below_floor()"
        )
        await connection.execute(SQL["raise_floor"], account, floor, str(folder), timeout=600)

    await briefly(connection, "trading.fills", work)


async def _finish(connection: Connection, begun: Any, progress: Progress) -> Archived:
    """Write what is not written, then remove what is not removed."""
    account, floor, folder, phase = begun["account_id"], begun["floor"], Path(begun["folder"]), begun["phase"]
    number = begun["fills"]
    if phase == "writing":
        number, first_at = await _write_all(connection, account, floor, folder, progress)
        await connection.execute(
            SQL["written"],
            *(account, floor, number, first_at),
        )
    await _remove(connection, account, floor, progress)
    await connection.execute(SQL["removed"], account, floor)
    return Archived(account, number, floor, folder)


async def _write_all(
    connection: Connection, account: int, floor: datetime, folder: Path, progress: Progress
) -> tuple[int, datetime | None]:
    """Write every month; how many rows, and when the first happened. Fatal unless the files hold what the table has."""
    bounds = await fetch_one(connection, SQL["bounds"], account, floor, timeout=3600)
    written = 0
    start = bounds["first"]
    while start is not None and start < floor:
        month = start.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        after = (month + timedelta(days=32)).replace(day=1)
        rows = await connection.fetch(SQL["month"], account, month, min(after, floor), timeout=3600)
        if rows:
            place = Path(f"account={account}") / f"{month:%Y-%m}-before-{floor:%Y-%m-%d}.parquet"
            await asyncio.to_thread(_write, rows, folder / "fills" / place)
            quotes = await connection.fetch(SQL["quotes"], account, month, min(after, floor), timeout=3600)
            if quotes:
                await asyncio.to_thread(_write, quotes, folder / "fill_quotes" / place)
            written += len(rows)
            progress(len(rows))
        start = after
    if written != bounds["number"]:
        raise Fatal(
            f"The files in {folder} hold {written:,} fills of account {account}, the table has {bounds['number']:,}. "
            "Nothing was removed. Run the command again; if it says this again, report it."
        )
    return written, bounds["first"]


def _write(rows: Sequence[Any], path: Path) -> None:
    """One file: written beside, fsynced, read back, compared, and only then given its name."""
    import polars as pl

    frame = _frame(rows)
    beside = path.with_suffix(".part")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with beside.open("wb") as file:
            os.chmod(file.fileno(), 0o600)
            frame.write_parquet(file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        if not pl.read_parquet(beside).equals(frame):
            raise Fatal(f"{beside} does not read back as it was written. Nothing was removed; check the disk.")
        beside.rename(path)
        for changed in (path.parent, path.parent.parent):
            number = os.open(changed, os.O_RDONLY)
            try:
                os.fsync(number)
            finally:
                os.close(number)
    except OSError as fault:
        raise Misconfigured(
            f"{path} cannot be written: {fault.strerror}. Choose another folder with --output."
        ) from None


def _frame(rows: Sequence[Any]) -> pl.DataFrame:
    """The rows as they are stored; `numeric` as DECIMAL(38, 18), exact or refused."""
    import polars as pl

    columns: dict[str, Any] = {}
    amount = pl.Decimal(DIGITS, PLACES)
    for name in (name for name in rows[0].keys() if name != "extra_fees_text"):  # noqa: SIM118 - a record iterates over its values
        values = [row[name] for row in rows]
        kind: Any = next((type(value) for value in values if value is not None), None)
        if kind is Decimal:
            for row, value in zip(rows, values, strict=True):
                _check(value, name, row["exec_id"])
            columns[name] = pl.Series(name, values, dtype=amount)
        elif name in _AMOUNTS:
            columns[name] = pl.Series(name, values, dtype=amount)
        elif kind is datetime or name in _TIMES:
            columns[name] = pl.Series(name, values, dtype=pl.Datetime("us", "UTC"))
        elif name == "extra_fees":
            columns[name] = pl.Series(name, [row["extra_fees_text"] for row in rows], dtype=pl.String)
        elif kind is bool:
            columns[name] = pl.Series(name, values, dtype=pl.Boolean)
        elif kind is int:
            columns[name] = pl.Series(name, values, dtype=pl.Int64)
        else:
            columns[name] = pl.Series(name, values, dtype=pl.String)
    return pl.DataFrame(columns)


#: Columns whose type does not show where all their values are null.
_AMOUNTS = frozenset({"closed_size", "exec_pnl", "fee_price", "mid", "spread", "mid_1s", "mid_5s", "mid_30s"})
_TIMES = frozenset({"completed_at"})


def _check(value: Decimal | None, name: str, exec_id: str) -> None:
    if value is None:
        return
    exponent = value.normalize().as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -PLACES or value.adjusted() >= DIGITS - PLACES:
        raise Rejected(
            f"{name} of the fill {exec_id} is {value}, which DECIMAL({DIGITS}, {PLACES}) does not hold exactly. "
            "Nothing was removed; archive up to an earlier day."
        )


async def _remove(connection: Connection, account: int, floor: datetime, progress: Progress) -> None:
    for row in await connection.fetch(SQL["ledgers"], account, floor, timeout=3600):
        while True:
            number = await connection.fetchval(
                SQL["remove"], account, row["category"], row["symbol"], floor, STEP, timeout=600
            )
            progress(number)
            if number < STEP:
                break


async def archived(connection: Connection, account: int, start: datetime, end: datetime) -> list[dict[str, Any]]:
    """The archived fills of an account in `start <= exec_time < end`, as rows; empty where nothing of it is archived.

    Raises Misconfigured, with the folder, when its files are not there or `polars` is not installed.
    """
    try:
        folders = await connection.fetch(
            SQL["folders"],
            *(account, start, end),
        )
    except asyncpg.UndefinedTableError:
        return []
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for folder in {row["folder"] for row in folders}:
        for row in await asyncio.to_thread(_read, Path(folder) / "fills" / f"account={account}", start, end):
            found[row["category"], row["symbol"], row["exec_id"]] = row
    return sorted(found.values(), key=lambda row: (row["exec_time"], row["seq"], row["exec_id"]))


def _read(folder: Path, start: datetime, end: datetime) -> list[dict[str, Any]]:
    try:
        import polars as pl

        frame = pl.scan_parquet(folder / "*.parquet").filter(pl.col("exec_time") >= start, pl.col("exec_time") < end)
        return [_plain(row) for row in frame.collect().to_dicts()]
    except ImportError:
        raise Misconfigured(
            f"Fills of that time are in {folder} (Parquet), and polars, which reads them, is not installed."
        ) from None
    except (OSError, pl.exceptions.PolarsError):
        raise Misconfigured(
            f"Fills of that time are archived in {folder}, which cannot be read. Put the files back there."
        ) from None


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value.normalize() if isinstance(value, Decimal) else value for name, value in row.items()}


async def floors(connection: Connection, bot_id: str, start: datetime) -> list[str]:
    """A sentence for each account of the bot whose fills from `start` on are partly archived; for reports that reach below the floor."""
    try:
        rows = await connection.fetch(
            SQL["notices"],
            bot_id,
            start,
        )
    except asyncpg.UndefinedTableError:
        return []
    return [
        f"Single fills of account {row['account_id']} before {row['floor']:%Y-%m-%d} are archived in {row['folders']} (Parquet) "
        "and missing here; round trips and totals are whole."
        for row in rows
    ]
