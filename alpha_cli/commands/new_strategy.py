"""`alpha new-strategy`: a strategy from the template."""

import sys
from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command("new-strategy")
    def new_strategy(
        name: str = typer.Argument(help="Small letters and digits, for example breakout."),
        with_model: bool = typer.Option(
            False, "--with-model", help="Its entries follow the scores of a trained model."
        ),
        root: Path = typer.Option(Path(), "--root", help="The folder of the house."),
    ) -> None:
        """Make strategies/NAME with rules, parameters and tests, and enter it in bots.toml."""
        from alpha_cli.scaffold import scaffold

        for path in scaffold(name, root, with_model=with_model):
            sys.stdout.write(f"{path}\n")
        sys.stdout.write(
            f"\n{name} trades in 'make demo' now; its rules are in strategies/{name}/strategy.py.\n"
            f"Test it: python -m pytest strategies/{name}. In containers: alpha render, then put its keys into .env.\n"
        )
