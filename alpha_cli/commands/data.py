"""`alpha data`: historical candles for backtests."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    data = typer.Typer(help="Historical candles for back-tests.", no_args_is_help=True)
    data.command("download")(download)
    data.command("import")(import_)
    data.command("check")(check)
    data.command("slippage")(slippage)
    app.add_typer(data, name="data")


def download(
    symbols: Annotated[list[str], typer.Argument(help="Symbols, separated by spaces or commas: BTCUSDT ETHUSDT.")],
    from_: Annotated[str, typer.Option("--from", help="First candle, UTC: 2024-01-31 or with T12:00.")],
    interval: Annotated[
        str, typer.Option("--interval", help="Minutes of a candle, or D: 1 3 5 15 30 60 240 ... D.")
    ] = "5",
    to: Annotated[str | None, typer.Option("--to", help="End, exclusive, UTC; without: now.")] = None,
    folder: Annotated[Path, typer.Option("--data", help="The folder to fill.")] = Path("data"),
    open_interest: Annotated[bool, typer.Option("--open-interest", help="Open interest too.")] = False,
) -> None:
    """Download public candles and funding rates, and go on where an earlier download stopped."""
    # Imported here: the backtester needs packages that no other command needs.
    from backtester.download_command import DownloadRequest, carry_out

    carry_out(DownloadRequest(tuple(symbols), interval, from_, to, folder, open_interest))


def import_(
    sources: Annotated[list[Path], typer.Argument(help="Files or folders: CSV, zip, gz, feather, JSON.")],
    folder: Annotated[Path, typer.Option("--data", help="The folder to fill.")] = Path("data"),
    symbol: Annotated[str | None, typer.Option("--symbol", help="Where the files' names do not tell it.")] = None,
) -> None:
    """Bring candles and funding of Binance Vision, Bybit, CryptoDataDownload, freqtrade and ccxt into a folder."""
    from backtester.candles import moment
    from research.data_import import import_files

    for one in import_files(sources, folder, symbol):
        more = [f"{one.twice} rows twice"] if one.twice else []
        more += [f"{one.passed} lines passed over"] if one.passed else []
        typer.echo(
            f"{one.symbol}: {one.rows:,} {one.kind} from {len(one.files)} files{''.join(f', {text}' for text in more)}"
        )
        for before, after in one.holes[:20]:
            typer.echo(f"  hole after {moment(before)} to {moment(after)}")
        if len(one.holes) > 20:
            typer.echo(f"  and {len(one.holes) - 20} more")


def check(
    folder: Annotated[Path, typer.Argument(help="The folder of candles.")],
    most: Annotated[int, typer.Option("--most", min=1, help="Lines per kind and symbol.")] = 10,
) -> None:
    """Say what is odd in a folder of candles: holes, outliers, bars without volume, coins that came and went."""
    from backtester.candles import moment
    from research.data_check import check_folder

    found = check_folder(folder)
    for one in found:
        words = f"{one.symbol}: {one.candles:,} candles of {one.interval_ms // 60_000} minutes, {moment(one.from_ms)} to {moment(one.to_ms)}"
        words += ", listed later than others" if one.listed_later else ""
        words += ", ends earlier than others" if one.ended_earlier else ""
        typer.echo(words)
        for before, after in one.holes[:most]:
            typer.echo(f"  hole: {(after - before) // one.interval_ms - 1} candles after {moment(before)}")
        for start, move in one.outliers[:most]:
            typer.echo(f"  outlier: {moment(start)}, close {move * 100:+.1f} % from the one before")
        if one.silent:
            typer.echo(f"  no volume: {one.silent} candles")
    holes, outliers = sum(len(one.holes) for one in found), sum(len(one.outliers) for one in found)
    typer.echo(
        f"{len(found)} symbols, {holes} holes ({sum(one.missing for one in found)} candles), {outliers} outliers."
    )


def slippage(
    bot: Annotated[str, typer.Argument(help="The bot: its id, name, tag or container.")],
    out: Annotated[Path, typer.Option("--out", help="The file to write: symbol,bps,orders.")] = Path("slippage.csv"),
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="So many days back from the newest order.")] = 90,
) -> None:
    """Write what the bot's market orders really cost against the price at which they were decided, by symbol."""
    from alpha.config.loader import load
    from alpha.config.services import DatabaseSettings
    from alpha_cli.bot_names import bot_id
    from research.measured_slippage import write_measured

    count = write_measured(load(DatabaseSettings), bot_id(bot), days, out)
    typer.echo(f"{out}: {count} symbols. Use it with alpha backtest --slippage-bps {out}.")
