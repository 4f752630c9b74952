"""`alpha ticks` and `alpha slippage`: recorded ticks, and what they say of our own fills."""

import asyncio
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alpha.errors import AlphaError, Misconfigured, shown
from alpha.model.assumed_slippage import ASSUMED_SLIPPAGE_BPS
from alpha.postgres.sql import queries

if TYPE_CHECKING:
    from polars import DataFrame

SQL = queries(__file__)

_DIR = typer.Option("--dir", envvar="TICKS_DIR", help="The folder of ticks.")
Folder = Annotated[Path, _DIR]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    ticks = typer.Typer(help="Recorded trades, quotes and order books.", no_args_is_help=True)
    ticks.command("ls")(show)
    ticks.command("verify")(verify)
    ticks.command("export")(export)
    ticks.command("import")(import_)
    app.add_typer(ticks, name="ticks")
    app.command("slippage")(slippage)


def show(
    folder: Folder = Path("ticks"), gaps: Annotated[bool, typer.Option("--gaps", help="Each gap too.")] = False
) -> None:
    """What is stored of each symbol, and what is missing."""
    from rich.console import Console
    from rich.table import Table

    from tick_recorder.inspect import held, open_folder
    from tick_recorder.read import read_gaps

    console = Console(soft_wrap=True)
    store = open_folder(folder)
    table = Table("kind", "symbol", "from", "to", "rows", "files", "MB", "gaps", "missing")
    for one in held(store):
        first, last = (f"{moment:%Y-%m-%d %H:%M:%S}" for moment in (one.first, one.last))
        missing = str(timedelta(seconds=one.gap_ms // 1_000)) if one.gaps else ""
        size = f"{one.size / 1_000_000:,.1f}"
        table.add_row(one.kind, one.symbol, first, last, f"{one.rows:,}", str(one.files), size, str(one.gaps), missing)
    console.print(table)
    if gaps:
        for row in read_gaps(folder).iter_rows(named=True):
            until = "now" if row["until"] is None else f"{row['until']:%Y-%m-%d %H:%M:%S.%f}"[:-3]
            begin = f"{row['ts']:%Y-%m-%d %H:%M:%S.%f}"[:-3]
            console.print(f"{row['kind']} {row['symbol']}: {begin} to {until}: {row['reason']}", highlight=False)


def verify(folder: Folder = Path("ticks")) -> None:
    """Read everything; exit code 1 where something is wrong with a file."""
    from tick_recorder.inspect import open_folder
    from tick_recorder.inspect import verify as faults

    found = list(faults(open_folder(folder)))
    for fault in found:
        sys.stdout.write(f"{fault.text if str(fault.path) in fault.text else f'{fault.path} {fault.text}'}\n")
    sys.stdout.write(f"{len(found)} faults.\n" if found else "Every file is whole.\n")
    if found:
        raise typer.Exit(1)


def export(
    symbol: Annotated[str, typer.Argument(help="The symbol, for example BTCUSDT.")],
    output: Annotated[Path, typer.Option("--output", help="The file to write.")],
    form: Annotated[str, typer.Option("--format", help="csv, npz (hftbacktest) or line-protocol.")] = "csv",
    kind: Annotated[str, typer.Option("--kind", help="trades, bbo, depth or liquidations.")] = "trades",
    from_: Annotated[str | None, typer.Option("--from", help="First moment, UTC: 2026-01-31 or with T12:00.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="End, exclusive, UTC.")] = None,
    folder: Folder = Path("ticks"),
) -> None:
    """Write the ticks of a symbol as CSV, as hftbacktest's events, or as line protocol."""
    from tick_recorder.export import export as write
    from tick_recorder.inspect import open_folder
    from tick_recorder.read import kind_of, read_gaps

    open_folder(folder)
    start, end, wanted = _moment(from_, "--from"), _moment(to, "--to"), kind_of(kind)
    rows = write(folder, form, wanted, symbol, start, end, output)
    sys.stdout.write(f"{rows:,} rows  {output}\n")
    holes = len(read_gaps(folder, symbol, None if form == "npz" else wanted, start, end))
    if holes:
        sys.stdout.write(f"There are {holes} gaps in it: alpha ticks ls --gaps.\n")


def import_(
    files: Annotated[list[Path], typer.Argument(help="Archives of Bybit (.csv.gz) or Binance (.zip).")],
    symbol: Annotated[str | None, typer.Option("--symbol", help="Store under this symbol.")] = None,
    folder: Folder = Path("ticks"),
) -> None:
    """Read trade archives into the store. Importing one again changes nothing."""
    from tick_recorder.archives import import_archive
    from tick_recorder.store import TickStore
    from tick_recorder.writer import Report, Writer

    store = TickStore(folder)
    store.open()
    Writer(store, retention_days=0, most_bytes=0).recover(Report())
    failed = False
    try:
        for path in files:
            try:
                done = import_archive(store, path, symbol)
            except AlphaError as fault:
                failed = True
                sys.stderr.write(f"{fault}\n")
                continue
            sys.stdout.write(f"{done.rows:>12,} trades of {done.symbol}, {done.repeats:,} known already  {path}\n")
            if done.unreadable:
                failed = True
                sys.stderr.write(f"{path}: {done.unreadable} rows cannot be read, the first is {done.example}.\n")
    finally:
        store.close()
    if failed:
        raise typer.Exit(1)


def slippage(
    bot: Annotated[str | None, typer.Argument(help="A bot; without: all.")] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="The last so many days.")] = 7,
    by: Annotated[str, typer.Option("--by", help="bot_id, symbol, order_kind, hour, size or reason.")] = "symbol",
    assumed_bps: Annotated[
        float, typer.Option("--assumed-bps", min=0, help="What the back-test assumes for a market order.")
    ] = float(ASSUMED_SLIPPAGE_BPS),
    folder: Annotated[
        Path | None,
        typer.Option(
            "--dir", help="A folder of ticks to measure with. Without: what the tick recorder has measured already."
        ),
    ] = None,
) -> None:
    """What fills really cost, against the recorded quotes around them."""
    from rich.console import Console
    from rich.table import Table

    from alpha_cli.bot_names import bot_id
    from tick_recorder.slippage import summarise, worse_than_assumed

    choices = ("bot_id", "symbol", "order_kind", "hour", "size", "reason")
    if by not in choices:
        raise Misconfigured(f"--by {by!r} is not a way to group fills. Choose from {', '.join(choices)}.")
    measured = asyncio.run(_measured(None if bot is None else bot_id(bot), days, folder))
    if folder is None and not measured["mid"].count():
        raise Misconfigured(
            f"The tick recorder has measured none of the {len(measured)} fills: let it run while the bots trade, or name a "
            "folder of ticks with --dir."
        )
    table = Table(
        by, "fills", "measured", "value USDT", "cost USDT", "spread", "slippage", "delay", "1 s", "5 s", "30 s"
    )
    for row in summarise(measured, [by]).iter_rows(named=True):
        figures = ("spread_bps", "slippage_bps", "delay_bps", "after_1s_bps", "after_5s_bps", "after_30s_bps")
        amounts = (f"{row[name]:,.2f}" for name in ("value_usdt", "slippage_usdt"))
        bps = ("" if row[name] is None else f"{row[name]:.2f}" for name in figures)
        table.add_row(str(row[by]), str(row["fills"]), str(row["measured"]), *amounts, *bps)
    Console(soft_wrap=True).print(table)
    sys.stdout.write("Basis points of the mid price, weighted by value; positive slippage is a cost. ")
    sys.stdout.write(f"The back-test assumes {assumed_bps:g} bps for a market order.\n")
    warning = worse_than_assumed(measured, assumed_bps)
    if warning:
        sys.stdout.write(f"{warning}\n")


async def _measured(bot: str | None, days: int, folder: Path | None) -> "DataFrame":
    """The fills of the last days, measured against a folder of ticks, or as the tick recorder stored it."""
    from alpha.config.loader import load
    from alpha.config.services import DatabaseSettings
    from alpha.postgres.database import connect
    from tick_recorder.inspect import open_folder
    from tick_recorder.own_fills import read_costs, read_fills
    from tick_recorder.read import read_gaps, read_ticks
    from tick_recorder.schema import Kind
    from tick_recorder.slippage import measure

    if folder is not None:
        open_folder(folder)
    settings = load(DatabaseSettings, env_file=Path(os.environ.get("ALPHA_ENV_FILE", ".env")))
    connection = await connect(settings, "slippage")
    try:
        fills = await (read_costs if folder is None else read_fills)(connection, bot, days)
        bots = [row["bot_id"] for row in await connection.fetch(SQL["bots"])]
    finally:
        await connection.close()
    if not len(fills) and bot is not None and bot not in bots:
        raise Misconfigured(f"There is no bot called {shown(bot)}. The bots are: {', '.join(bots)}.")
    if not len(fills):
        raise Misconfigured(f"There are no fills of {bot or 'any bot'} in the last {days} days of trading.")
    if folder is None:
        return fills
    times: list[datetime] = fills["ts"].sort().to_list()
    start, end = times[0] - timedelta(hours=1), times[-1] + timedelta(minutes=1)
    quotes: dict[str, Any] = {}
    gaps: dict[str, Any] = {}
    for symbol in fills["symbol"].unique():
        quotes[symbol] = read_ticks(folder, Kind.BBO, symbol, start, end)
        gaps[symbol] = read_gaps(folder, symbol, Kind.BBO, start, end)
    return measure(fills, quotes, gaps)


def _moment(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Misconfigured(f"{option} {text!r} is not a time. Write 2026-01-31 or 2026-01-31T12:00.") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
