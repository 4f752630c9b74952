"""`alpha db`: migrate, verify, rebuild, partition, archive and prune the database, as its owner."""

import asyncio
import importlib.util
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Protocol, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from alpha.config.loader import load
from alpha.config.services import DatabaseSettings
from alpha.errors import Misconfigured
from alpha.postgres import ledger, migrate
from alpha.postgres.archive import archive
from alpha.postgres.database import connect
from alpha.postgres.partition import partition
from alpha.postgres.prune import prune

T = TypeVar("T", covariant=True)
_SINCE = "Begin at each ledger's last checkpoint before this UTC day, which is taken as true; all fills when left out."
MOST_SHOWN = 20
#: Tolerance for Bybit's rounding per round trip, in USDT.
ALLOWED = Decimal("0.01")


def settings() -> migrate.MigrateSettings:
    """The owner's connection, from the environment and the settings file."""
    return load(migrate.MigrateSettings)


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    db = typer.Typer(
        help="Migrate, verify, rebuild, partition, archive and prune the database, as its owner.", no_args_is_help=True
    )
    app.add_typer(db, name="db")
    console = Console(soft_wrap=True)

    @db.command("migrate")
    def run_migrations() -> None:
        """Apply the migrations that are missing, enter the bots, set the roles' passwords. Safe to run again."""
        console.print(asyncio.run(migrate.bring_up_to_date(settings())))

    @db.command()
    def verify(
        exec_pnl: bool = typer.Option(
            False, "--exec-pnl", help="Also compare each round trip with Bybit's own execPnl."
        ),
        since: datetime | None = typer.Option(None, formats=["%Y-%m-%d"], help=_SINCE),
    ) -> None:
        """Recompute every round trip and total from the fills and compare to the last digit; exits with 1 on a difference."""
        found = _with_progress("comparing", ledger.verify, since)
        console.print(
            f"{found.fills:,} fills, {found.trips:,} round trips, {found.days:,} daily totals and {found.exits:,} daily exits "
            f"compared: {len(found.differences)} differences."
        )
        for sentence in found.differences[:MOST_SHOWN]:
            console.print(f"  {sentence}")
        if found.differences:
            if len(found.differences) > MOST_SHOWN:
                console.print(f"  and {len(found.differences) - MOST_SHOWN} more.")
            console.print("'alpha db rebuild' recomputes the ledger from the fills.")
        differing = 0
        if exec_pnl:
            theirs = asyncio.run(ledger.compare_exec_pnl(settings(), ALLOWED))
            differing = theirs.differing
            console.print(
                f"{theirs.compared:,} round trips carry Bybit's own P&L: {differing} differ by more than {ALLOWED} USDT; "
                f"the largest difference is {theirs.worst:f}."
            )
        if found.differences or differing:
            raise typer.Exit(1)

    @db.command()
    def rebuild(
        since: datetime | None = typer.Option(None, formats=["%Y-%m-%d"], help=_SINCE),
    ) -> None:
        """Make every round trip and total anew from the fills."""
        number = _with_progress("rebuilding", ledger.rebuild, since)
        console.print(f"{number} ledgers (account and symbol) were recomputed.")

    @db.command("partition")
    def make_partitions(
        partitions: int = typer.Option(8, help="How many: each adds to what an insert costs."),
    ) -> None:
        """Split the table of fills by account, for records beyond some ten million fills; the listener goes on meanwhile."""
        with _bar("copying", 100, "%") as advance:
            shown = 0.0

            def progress(share: float) -> None:
                nonlocal shown
                advance(100 * (share - shown))
                shown = share

            done = asyncio.run(partition(settings(), partitions, progress))
        if done.rows:
            console.print(
                f"{done.rows:,} fills are in {done.partitions} partitions now, each compared with what it was."
            )
        else:
            console.print(f"trading.fills has {done.partitions} partitions; there was nothing left to do.")

    @db.command("archive")
    def archive_fills(
        before: datetime = typer.Option(
            ..., formats=["%Y-%m-%d"], help="Fills from before this UTC day are moved; two years back at least."
        ),
        output: Path = typer.Option(
            ..., "--output", help="The folder of the Parquet files; keep it, and copy it elsewhere."
        ),
        yes: bool = typer.Option(False, "--yes", help="Do not ask."),
    ) -> None:
        """Move old fills to Parquet files; round trips and totals stay. Verified before and after; a killed run is continued."""
        if importlib.util.find_spec("polars") is None:
            raise Misconfigured(
                "This image has no polars, which writes Parquet. Use: docker compose -f docker-compose.production.yml run --rm archive"
            )
        moment = before.replace(tzinfo=UTC)
        found = _with_progress("comparing", ledger.verify)
        if found.differences:
            console.print(found.differences[0])
            raise Misconfigured("The ledgers differ from the fills. Run 'alpha db rebuild', then archive.")
        if not yes:
            typer.confirm(f"Move fills from before {before:%Y-%m-%d} out of PostgreSQL into {output}?", abort=True)
        with _bar("moving", 2 * found.fills) as advance:
            done = asyncio.run(archive(settings(), moment, output, advance))
        for one in done:
            console.print(
                f"{one.fills:>12,} fills of account {one.account_id} before {one.floor:%Y-%m-%d} are in {one.folder}"
            )
        if not done:
            console.print(f"No account has fills from before {before:%Y-%m-%d}.")
            return
        after = _with_progress("comparing", ledger.verify)
        console.print(f"{after.fills:,} fills remain and were compared: {len(after.differences)} differences.")
        if after.differences:
            raise typer.Exit(1)

    @db.command("prune")
    def prune_old(
        before: datetime = typer.Option(
            ...,
            formats=["%Y-%m-%d"],
            help="Rows from before this UTC day go; fills and what is computed from them stay.",
        ),
        yes: bool = typer.Option(False, "--yes", help="Do not ask."),
    ) -> None:
        """Delete old equity snapshots, alerts, unfilled orders and the like. Nothing else deletes a row of the record."""
        moment = before.replace(tzinfo=UTC)
        if moment >= datetime.now(UTC):
            raise Misconfigured(f"--before {before:%Y-%m-%d} is not in the past. Choose an earlier day.")
        if not yes:
            typer.confirm(f"Delete rows from before {before:%Y-%m-%d} for good?", abort=True)
        for name, number in asyncio.run(_prune(moment)).items():
            console.print(f"{number:>10,}  {name}")


async def _prune(before: datetime) -> dict[str, int]:
    connection = await connect(settings(), "prune")
    try:
        return await prune(connection, before)
    finally:
        await connection.close()


class _Work(Protocol[T]):
    """`ledger.verify` or `ledger.rebuild`."""

    def __call__(
        self, settings: DatabaseSettings, progress: ledger.Progress, *, since: datetime | None = None
    ) -> Awaitable[T]: ...


def _with_progress(what: str, work: "_Work[T]", since: datetime | None = None) -> T:
    moment = None if since is None else since.replace(tzinfo=UTC)

    async def run() -> T:
        owner = settings()
        total = await ledger.count_fills(owner, moment)
        with _bar(what, total) as advance:
            return await work(owner, advance, since=moment)

    return asyncio.run(run())


@contextmanager
def _bar(what: str, total: int, unit: str = "fills") -> Iterator[Callable[[float], None]]:
    columns = (
        TextColumn(what),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda fills: progress.advance(task, fills)
