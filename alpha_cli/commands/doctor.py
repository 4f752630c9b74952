"""`alpha doctor`: one line per check, with the remedy below each fault."""

import asyncio
import json

import typer
from rich.console import Console

from alpha_cli.doctor.finding import CheckOutcome, Finding

_MARKS = {
    CheckOutcome.OK: "[green]ok   [/]",
    CheckOutcome.NOTE: "[yellow]note [/]",
    CheckOutcome.FAULT: "[red bold]fault[/]",
}


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command()
    def doctor(as_json: bool = typer.Option(False, "--json", help="One JSON object a finding.")) -> None:
        """Check all that a start depends on; exits with 1 when something does not work."""
        raise typer.Exit(asyncio.run(_report(as_json)))


async def _report(as_json: bool) -> int:
    # Imported here: the checks need the gateway and the database, unlike other commands.
    from alpha_cli.doctor.run import findings

    console = Console(soft_wrap=True)
    faults = 0
    async for finding in findings():
        faults += finding.outcome is CheckOutcome.FAULT
        _show(console, finding, as_json)
    if not as_json:
        console.print("Everything is healthy." if not faults else f"{faults} fault{'s' if faults > 1 else ''} to mend.")
    return 1 if faults else 0


def _show(console: Console, finding: Finding, as_json: bool) -> None:
    if as_json:
        row = {"outcome": finding.outcome, "subject": finding.subject, "text": finding.text, "remedy": finding.remedy}
        console.print(json.dumps(row), markup=False, highlight=False)
        return
    console.print(f"{_MARKS[finding.outcome]} [bold]{finding.subject:<14}[/] ", end="", highlight=False)
    console.print(finding.text, markup=False, highlight=False)
    if finding.remedy:
        console.print(f"{'':21}→ {finding.remedy}", markup=False, highlight=False)
