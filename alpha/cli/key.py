"""`alpha key`: change a bot's exchange key, in one command, with no fill missed."""

import asyncio
import subprocess
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console

from alpha.bybit.call import Credentials
from alpha.errors import Rejected
from alpha.installation.keys import check_new_key
from alpha.installation.layout import READERS, read_variables
from alpha.installation.write import Installation, change_env, read_env
from alpha.registry import load_registry
from alpha.settings import BotKeys, ExchangeSettings, load

#: Services that hold every bot's key; the bot itself comes first.
HOLDERS = ("websocket_listener", "risk_guard", "trade_sync_service")


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command()
    def key(
        bot: str = typer.Argument(help="The bot whose key changes."),
        account: str | None = typer.Option(None, "--account", help="The account's userID, when the old key is dead."),
        read_only: bool = typer.Option(
            False,
            "--read-only",
            help="A second key for those who only read: the trading key then stays with bot and guard.",
        ),
        restart: bool = typer.Option(True, help="Restart the containers that hold the key."),
        folder: Path = typer.Option(Path(), "--folder", help="The checkout."),
    ) -> None:
        """Change a bot's API key: checked to be of the same account, then swapped. Positions stay, no fill is missed."""
        found = load_registry(folder / "bots.toml").find(bot)
        installation = Installation(folder, load_registry(folder / "bots.toml"))
        env_file = folder / ".env"
        known = installation.read()
        in_files = found.key_variable in known
        if not in_files:
            known = read_env(env_file)
        if not (known.get(found.key_variable) and known.get(found.secret_variable)):
            raise Rejected(f"Neither secrets/ nor .env has a key of {found.id} yet. Enter it with 'alpha init'.")
        if read_only and not in_files:
            raise Rejected(
                f"The key of {found.id} is in .env, which every service reads: a second key would keep nothing apart. "
                "Run 'alpha init' first; it gives each service a folder of its own."
            )
        names = read_variables(found) if read_only else (found.key_variable, found.secret_variable)
        new_key, new_secret = (typer.prompt(name, hide_input=True, err=True).strip() for name in names)
        old = load(
            BotKeys,
            prefix=f"{found.prefix}_",
            bybit_api_key=known[found.key_variable],
            bybit_api_secret=known[found.secret_variable],
        )
        exchange = load(ExchangeSettings, env_file=env_file)
        checked = asyncio.run(
            check_new_key(
                exchange, found, old, Credentials(new_key, new_secret), known_user_id=account, read_only=read_only
            )
        )
        changed = dict(zip(names, (new_key, new_secret), strict=True))
        if in_files:
            installation.write(changed)
        else:
            change_env(env_file, changed)
        console = Console(stderr=True, soft_wrap=True)
        kind = "read-only key" if read_only else "key"
        console.print(f"The {kind} of {found.id} is changed (account {checked.user_id}).")
        if restart and read_only:
            _restart(READERS, folder, in_files=in_files)
            console.print("Restarted those who only read; the key that trades is now with the bot and the guard alone.")
        elif restart:
            _restart((found.container, *HOLDERS), folder, in_files=in_files)
            console.print("Restarted what holds it. Now delete the old key on the exchange.")


def _restart(containers: Sequence[str], folder: Path, *, in_files: bool) -> None:
    """The listener reads what happened meanwhile from the exchange, so that no fill is missed.

    Files are read again at a restart; what stands in `.env` is a container's for life, so that it needs another one.
    """
    how = ["restart"] if in_files else ["up", "-d", "--no-deps"]
    command = ["docker", "compose", "-f", "docker-compose.production.yml", *how, *containers]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise Rejected(
            f"The key is changed, but the containers could not be restarted: {' '.join(done.stderr.split())[-200:]} "
            f"Run: {' '.join(command)}"
        )
