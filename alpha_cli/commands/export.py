"""`alpha export`: a bot's year as CSV files for the tax office."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from rich.console import Console

from alpha.config.loader import load
from alpha.config.services import DatabaseSettings
from alpha.errors import Misconfigured, Rejected
from alpha.postgres.archive import floors
from alpha.postgres.database import connect
from alpha.postgres.export import export_year
from alpha.postgres.sql import queries
from alpha.postgres.tax import FORMATS, export_tax
from alpha_cli.bot_names import bot_id as registered_id

SQL = queries(__file__)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command()
    def export(
        bot: str = typer.Option(..., "--bot", help="The bot: its id, name, tag or container."),
        year: int = typer.Option(..., "--year", min=2018, max=2100, help="The calendar year."),
        tz: str = typer.Option("UTC", "--tz", help="The time zone whose year it is, for example Europe/Berlin."),
        style: str | None = typer.Option(
            None,
            "--format",
            help="koinly, cointracking or generic: every movement of money, and a statement of the year.",
        ),
        output: Path | None = typer.Option(None, "--output", help="The folder; export/<bot>-<year> when left out."),
    ) -> None:
        """Write fills, round trips, funding and transfers of a year as CSV."""
        try:
            zone = ZoneInfo(tz)
        except (ZoneInfoNotFoundError, ValueError):
            raise Rejected(f"There is no time zone {tz!r}. Name one as Europe/Berlin or America/New_York.") from None
        bot_id = registered_id(bot)
        folder = output or Path("export") / f"{bot_id}-{year}"
        console = Console(soft_wrap=True)
        if style is not None and style.lower() not in FORMATS:
            raise Rejected(f"There is no format {style!r}. Name one of {', '.join(FORMATS)}.")
        written, missing = asyncio.run(_export(bot_id, year, zone, folder, style))
        for path, rows in written.items():
            console.print(f"{rows:>9,} rows  {path}")
        if not any(written.values()):
            console.print(f"{bot_id} has nothing on record in {year}, so the files are empty.")
        for sentence in missing:
            console.print(sentence)


async def _export(
    bot: str, year: int, zone: ZoneInfo, folder: Path, style: str | None
) -> tuple[dict[Path, int], list[str]]:
    """The rows of each file, and a sentence for each account whose fills of that year are partly archived."""
    settings = load(DatabaseSettings)
    connection = await connect(settings, "export")
    try:
        newest = await connection.fetchval(SQL["newest_fill"], bot)
        # A simulated market may be ahead of the wall clock.
        latest = max(moment for moment in (newest, datetime.now(UTC)) if moment is not None).astimezone(zone).year
        if year > latest:
            raise Misconfigured(f"--year {year} has not begun. Choose {latest} or an earlier one.")
        if style is not None:
            written = await export_tax(connection, bot, year, zone, folder, style.lower())
        else:
            written = await export_year(connection, bot, year, zone, folder)
        return written, await floors(connection, bot, datetime(year, 1, 1, tzinfo=zone))
    finally:
        await connection.close()
