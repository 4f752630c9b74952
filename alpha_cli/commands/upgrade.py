"""`alpha upgrade`: builds, migrates, and only then replaces what is running."""

from pathlib import Path

import typer
from rich.console import Console

from alpha.errors import Rejected
from alpha_cli.commands.compose import Compose


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command()
    def upgrade(folder: Path = typer.Option(Path(), "--folder", help="The checkout, at the new version.")) -> None:
        """Build the images, apply the migrations, then start the new version. A step that fails leaves everything running."""
        carry_out(Compose(folder), Console(stderr=True, soft_wrap=True))


def carry_out(compose: Compose, console: Console) -> None:
    """Upgrade the running stack to the checkout's version. Raises Rejected naming the failed step.

    Until the last step nothing is replaced: the previous release continues trading while the migrations, which only
    add, are applied.
    """
    console.print("1 of 3: building the images. Running services are not touched.")
    if not compose.shown("build"):
        raise Rejected("The images could not be built; the lines above say why. Nothing was replaced.")
    console.print("2 of 3: applying the migrations. Running services are not touched.")
    running = (compose.asked("ps", "--services", "--status", "running") or "").split()
    # A running PostgreSQL is left as it is; `run` with dependencies would recreate it if its settings changed.
    alone = ["--no-deps"] if "postgres" in running else []
    if not compose.shown("run", "--rm", "-T", *alone, "migrate"):
        raise Rejected(
            "The migration failed; the line above says why. Nothing was replaced: the previous release keeps running. "
            "Fix it and run 'alpha upgrade' again, or go back: git checkout VERSION, then 'alpha upgrade'."
        )
    console.print("3 of 3: starting the new version.")
    if not compose.shown("up", "-d"):
        raise Rejected(
            "Not everything has started; the lines above say what. The schema is the new one, with which the release before "
            f"works too. Look: {' '.join(compose.words('ps'))}"
        )
