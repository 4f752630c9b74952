"""`alpha password rotate`: new database passwords, in the server, in every file and in every container."""

import asyncio
from pathlib import Path

import typer
from rich.console import Console

from alpha.config.loader import env_file_in, load
from alpha.config.services import DatabaseSettings
from alpha.errors import Rejected
from alpha.registry import load_registry
from alpha.services import RESIDENT
from alpha_cli.commands.compose import Compose
from alpha_cli.installation.layout import BACKUP, OWNER
from alpha_cli.installation.rotate import Rotation
from alpha_cli.installation.write import Installation, change_env, one_key, read_env


def register(app: typer.Typer) -> None:
    """Add the group `password` to `app`."""
    group = typer.Typer(help="The passwords of the database.", no_args_is_help=True)
    app.add_typer(group, name="password")

    @group.callback()
    def passwords() -> None:
        """The passwords of the database."""

    @group.command()
    def rotate(
        folder: Path = typer.Option(Path(), "--folder", help="The checkout."),
        host: str = typer.Option("127.0.0.1", "--host", help="Where PostgreSQL answers."),
        port: int = typer.Option(5433, "--port", min=1, max=65535, help="Its port, not the pooler's."),
        restart: bool = typer.Option(True, help="Restart every container that holds a password."),
    ) -> None:
        """Change the owner's and all services' passwords everywhere. Interrupted, run it again: it finishes."""
        registry = load_registry(folder / "bots.toml")
        installation = Installation(folder, registry)
        env_file = env_file_in(folder)
        env = read_env(env_file)
        in_files = env.get("ALPHA_SECRETS") == "files"
        present = {**env, **(installation.read() if in_files else {})}
        rotation = Rotation(installation.folder, present, in_files=in_files)
        settings = load(
            DatabaseSettings,
            env_file=None,
            postgres_host=host,
            postgres_port=port,
            postgres_user="trading_user",
            postgres_db="trading_db",
            postgres_password=present[OWNER],
        )
        asyncio.run(rotation.apply(settings))
        if in_files:
            installation.write(rotation.new, one_key(env))
        else:
            change_env(env_file, rotation.new)
        rotation.finished()
        console = Console(stderr=True, soft_wrap=True)
        console.print(
            f"{len(rotation.new)} passwords are changed, in PostgreSQL and in {'secrets/' if in_files else '.env'}."
        )
        if restart:
            services = [*(name for name in RESIDENT if name != "dashboard"), BACKUP]
            services += list(registry.containers)
            words = ["restart", "pgbouncer", *services] if in_files else ["up", "-d"]
            compose = Compose(folder)
            if not compose.shown(*words):
                raise Rejected(
                    f"The passwords are changed, but not everything was restarted. Run: {' '.join(compose.words(*words))}"
                )
            console.print(
                "Every container that holds them was restarted; the listener backfills what it missed from the exchange."
            )
