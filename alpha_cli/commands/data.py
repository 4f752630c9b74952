"""`alpha data`: historical candles for backtests."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    data = typer.Typer(help="Historical candles for back-tests.", no_args_is_help=True)
    data.command("download")(download)
    app.add_typer(data, name="data")


def download(
    symbols: Annotated[list[str], typer.Argument(help="Symbols, separated by spaces or commas: BTCUSDT ETHUSDT.")],
    from_: Annotated[str, typer.Option("--from", help="First candle, UTC: 2024-01-31 or with T12:00.")],
    interval: Annotated[
        str, typer.Option("--interval", help="Minutes of a candle, or D: 1 3 5 15 30 60 240 ... D.")
    ] = "5",
    to: Annotated[str | None, typer.Option("--to", help="End, exclusive, UTC; without: now.")] = None,
    folder: Annotated[Path, typer.Option("--data", help="The folder to fill.")] = Path("data"),
) -> None:
    """Download public candles and funding rates, and go on where an earlier download stopped."""
    # Imported here: the backtester needs packages that no other command needs.
    from backtester.download_command import DownloadRequest, carry_out

    carry_out(DownloadRequest(tuple(symbols), interval, from_, to, folder))
