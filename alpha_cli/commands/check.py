"""`alpha check`: does a strategy look ahead?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Protocol

import typer


class Finding(Protocol):
    """One thing that was found."""

    @property
    def text(self) -> str:
        """In a sentence."""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("check")(check)


def check(
    strategy: Annotated[
        str, typer.Argument(help="A bot of bots.toml (shortseller, lxalgo, momentum) or module:Class.")
    ],
    data: Annotated[Path, typer.Option("--data", help="The folder of candles, one file a symbol.")],
    from_: Annotated[str | None, typer.Option("--from", help="First bar compared, UTC.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="End, exclusive, UTC.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A parameter: key=value. May be repeated.")] = None,
    symbols: Annotated[
        str | None, typer.Option("--symbols", help="Symbols, separated by commas; all: every one of the folder.")
    ] = None,
    bars: Annotated[int, typer.Option("--bars", min=1, max=1_000, help="Random bars per symbol.")] = 12,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which bars are drawn.")] = 1,
    bots: Annotated[Path, typer.Option("--bots", envvar="ALPHA_BOTS_FILE", help="The registry of bots.")] = Path(
        "bots.toml"
    ),
) -> None:
    """Look for look-ahead: change, cut off and shift what comes after random bars, and compare what was decided before."""
    # Imported here: the back-tester brings packages that no other command needs.
    from backtester.command import Request, look_ahead

    request = Request(
        strategy=strategy,
        data=data,
        from_text=from_,
        to_text=to,
        overrides=tuple(set_ or ()),
        symbols=symbols,
        cash="10000",
        taker_fee="0.00055",
        slippage_bps="0",
        funding="0",
        resume_days=None,
        bots=bots,
    )
    report_findings(look_ahead(request, bars=bars, seed=seed))


def report_findings(found: Sequence[Finding]) -> None:
    """Print what was found and end with 1, or say that nothing was."""
    if not found:
        typer.echo("No look-ahead was found: nothing changes with what comes later, nor with where the data begin.")
        return
    for finding in found:
        typer.echo(f"{finding.text[:1].upper()}{finding.text[1:]}")
    raise typer.Exit(1)
