"""`alpha compare live`: what a bot did, beside the back-test of the same days."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from alpha.model.assumed_slippage import ASSUMED_SLIPPAGE_BPS


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    compare = typer.Typer(help="What happened beside what a back-test says.", no_args_is_help=True)
    compare.command("live")(live)
    compare.callback()(_group)
    app.add_typer(compare, name="compare")


def _group() -> None:
    """What happened beside what a back-test says."""


def live(
    bot: Annotated[str, typer.Argument(help="A bot of bots.toml.")],
    data: Annotated[Path, typer.Option("--data", help="The folder of candles that reach over these days.")],
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="So many days back from --to.")] = 30,
    to: Annotated[str | None, typer.Option("--to", help="End, UTC; without: now.")] = None,
    cash: Annotated[str, typer.Option("--cash", help="Equity at the start; without: the record's.")] = "",
    slippage_bps: Annotated[str, typer.Option("--slippage-bps", help="Slippage of the back-test.")] = str(
        ASSUMED_SLIPPAGE_BPS
    ),
    bots: Annotated[Path, typer.Option("--bots", envvar="ALPHA_BOTS_FILE", help="The registry of bots.")] = Path(
        "bots.toml"
    ),
) -> None:
    """Back-test the days a bot has traded and compare entry by entry: prices, what was missed, what was not expected."""
    # Imported here: the back-tester brings packages that no other command needs.
    from backtester.candles import moment
    from research.compare import EXTRA, MISSED, SAME
    from research.compare_live import LiveRequest, compare_live

    end = datetime.now(UTC) if to is None else datetime.fromisoformat(to).replace(tzinfo=UTC)
    found = compare_live(LiveRequest(bot, data, days, end, cash, slippage_bps, bots))
    for pair in found.pairs:
        typer.echo(f"{moment(pair.entry_ms)}  {pair.symbol:<12} {pair.kind:<7} {pair.words}")
    typer.echo(
        f"{found.count(SAME)} entries in both, {found.count(MISSED)} missed, {found.count(EXTRA)} not in the back-test. "
        f"Net: back-test {found.tested_net:+,.2f}, live {found.live_net:+,.2f} USDT."
    )
    if found.mean_entry_cost_bps is not None and found.mean_exit_cost_bps is not None:
        typer.echo(
            f"Live was worse by {found.mean_entry_cost_bps:+.1f} bps at entries, {found.mean_exit_cost_bps:+.1f} bps at exits (mean)."
        )
