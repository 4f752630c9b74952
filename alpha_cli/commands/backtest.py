"""`alpha backtest`: a strategy over historical candles."""

from pathlib import Path
from typing import Annotated

import typer

from alpha.errors import Misconfigured
from alpha.model.assumed_slippage import ASSUMED_SLIPPAGE_BPS
from alpha_cli.commands.check import report_findings

COSTS = "Without fees, slippage and funding: what the rule alone would have made."


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("backtest")(backtest)


def backtest(
    strategy: Annotated[
        str, typer.Argument(help="A bot of bots.toml (shortseller, lxalgo, momentum) or module:Class.")
    ],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="The folder of candles, one file a symbol; with --download data/INTERVAL."),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch first what the folder lacks since --from: public, without a key.")
    ] = False,
    from_: Annotated[
        str | None, typer.Option("--from", help="First bar traded, UTC: 2024-01-31 or with T12:00.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="End, exclusive, UTC.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A parameter: key=value. May be repeated.")] = None,
    symbols: Annotated[
        str | None, typer.Option("--symbols", help="Symbols, separated by commas; all: every one of the folder.")
    ] = None,
    cash: Annotated[str, typer.Option("--cash", help="Starting equity in USDT.")] = "10000",
    fee: Annotated[str, typer.Option("--fee", help="Taker fee, as a fraction of the value.")] = "0.00055",
    maker_fee: Annotated[str, typer.Option("--maker-fee", help="Maker fee, as a fraction of the value.")] = "0.0002",
    slippage_bps: Annotated[
        str | None,
        typer.Option(
            "--slippage-bps",
            help="Slippage of a market order in basis points; a CSV of symbol,bps; or the word model. "
            "Without: 2; with --ticks 0, since the spread is in the quotes.",
        ),
    ] = None,
    funding: Annotated[
        str,
        typer.Option("--funding", help="Rate every 8 hours where the data have none; recorded: only recorded ones."),
    ] = "0.0001",
    resume_days: Annotated[
        int | None,
        typer.Option(
            "--resume-days", min=0, max=36_500, help="The operator resumes so many days after a halt; without: never."
        ),
    ] = None,
    holes: Annotated[
        str,
        typer.Option(
            "--holes", help="A symbol with a hole: refuse; longest: its longest part without one; parts: each."
        ),
    ] = "refuse",
    ticks: Annotated[
        Path | None,
        typer.Option("--ticks", help="The folder of the tick recorder: orders meet recorded trades and quotes."),
    ] = None,
    gaps: Annotated[
        str, typer.Option("--gaps", help="Where ticks are missing: refuse, or candles: the walk of the candle there.")
    ] = "refuse",
    columns: Annotated[
        Path | None,
        typer.Option(
            "--columns", help="The folder of files whose columns a strategy looks at (default: DATA/columns)."
        ),
    ] = None,
    no_costs: Annotated[bool, typer.Option("--no-costs", help=COSTS)] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Look for look-ahead first, as alpha check does; ends with 1 when found.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", help="A folder for report.html, result.json and the tables.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="A model of the strategy: NAME=VERSION. May be repeated.")
    ] = None,
    models: Annotated[Path, typer.Option("--models", envvar="MODELS_DIR", help="The folder of models.")] = Path(
        "models"
    ),
    bots: Annotated[Path, typer.Option("--bots", envvar="ALPHA_BOTS_FILE", help="The registry of bots.")] = Path(
        "bots.toml"
    ),
) -> None:
    """Run a strategy over historical candles: the same object that trades live, with fees, slippage and funding."""
    # Imported here: the backtester needs packages that no other command needs.
    from backtester.command import Request, carry_out, look_ahead
    from backtester.report import report as show

    if download:
        from backtester.download_command import download_for

        data = download_for(strategy, bots, data, from_, to, symbols, set_ or [])
    elif data is None:
        raise Misconfigured("Name the folder of candles with --data, or fetch them with --download --from 2026-01-31.")
    slippage = "0" if no_costs else slippage_bps or (str(ASSUMED_SLIPPAGE_BPS) if ticks is None else "0")
    request = Request(
        strategy=strategy,
        data=data,
        from_text=from_,
        to_text=to,
        overrides=tuple(set_ or ()),
        symbols=symbols,
        cash=cash,
        taker_fee="0" if no_costs else fee,
        slippage_bps=slippage,
        funding="0" if no_costs else funding,
        resume_days=resume_days,
        bots=bots,
        maker_fee="0" if no_costs else maker_fee,
        holes=holes,
        models=tuple(model or ()),
        models_dir=models,
        ticks=ticks,
        gaps=gaps,
        columns=columns,
    )
    if check:
        report_findings(look_ahead(request, bars=12, seed=1))
    show(carry_out(request), report)
