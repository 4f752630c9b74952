"""`alpha key`: changes a bot's exchange key in one command, without missing a fill."""

import asyncio
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer
from rich.console import Console

from alpha.bybit.session import Credentials
from alpha.config.env_file import invisible
from alpha.config.exchange import ExchangeSettings
from alpha.config.keys import BotKeys
from alpha.config.loader import env_file_in, load
from alpha.errors import Rejected
from alpha.registry import Bot, load_registry
from alpha_cli.installation.keys import check_new_key
from alpha_cli.installation.layout import READ_WITH_TRADING_KEY, READERS, has_pair, key_pairs
from alpha_cli.installation.write import Installation, change_env, one_key, read_env


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command()
    def key(
        bot: str = typer.Argument(help="The bot whose key changes."),
        account: str | None = typer.Option(None, "--account", help="The account's userID, when the old key is dead."),
        read_only: bool = typer.Option(
            False,
            "--read-only",
            help="The key of the listener and the trade sync, which only read; else the one that trades.",
        ),
        restart: bool = typer.Option(True, help="Restart the containers that hold the key."),
        folder: Path = typer.Option(Path(), "--folder", help="The checkout."),
    ) -> None:
        """Change a bot's API key: checked to be of the same account, then swapped. Positions stay, no fill is missed."""
        registry = load_registry(folder / "bots.toml")
        found = registry.find(bot)
        installation = Installation(folder, registry)
        env_file = env_file_in(folder)
        env = read_env(env_file)
        known = installation.read()
        trading, reading = key_pairs(found)
        in_files = any(has_pair(known, pair) for pair in (trading, reading))
        if not in_files:
            known = env
        old = next((pair for pair in (trading, reading) if has_pair(known, pair)), None)
        if old is None:
            raise Rejected(f"Neither secrets/ nor .env has a key of {found.id} yet. Enter it with 'alpha init'.")
        names = reading if read_only else trading
        new_key, new_secret = (typer.prompt(name, hide_input=True, err=True).strip() for name in names)
        for name, value in zip(names, (new_key, new_secret), strict=True):
            if (hidden := invisible(value)) is not None:
                raise Rejected(f"{name} holds an invisible character ({hidden}). Copy it again, or type it.")
        old_keys = load(
            BotKeys,
            prefix=f"{found.prefix}_",
            env_file=env_file,
            bybit_api_key=known[old[0]],
            bybit_api_secret=known[old[1]],
        )
        exchange = load(ExchangeSettings, env_file=env_file)
        checked = asyncio.run(
            check_new_key(
                exchange, found, old_keys, Credentials(new_key, new_secret), known_user_id=account, read_only=read_only
            )
        )
        holders = _holders(found, known, read_only=read_only)
        changed = dict(zip(names, (new_key, new_secret), strict=True))
        chosen = one_key(env) - {found.id} if read_only else one_key(env)
        if in_files:
            installation.write(changed, chosen)
        else:
            change_env(env_file, changed)
        if chosen != one_key(env):
            rest = ",".join(each.id for each in registry.bots if each.id in chosen)
            change_env(env_file, {READ_WITH_TRADING_KEY: rest})
        console = Console(stderr=True, soft_wrap=True)
        kind = "read-only key" if read_only else "key"
        console.print(f"The {kind} of {found.id} is changed (account {checked.user_id}).")
        if restart:
            _restart(holders, folder, in_files=in_files)
            console.print(f"Restarted what holds it: {', '.join(holders)}. Now delete the old key on the exchange.")


def _holders(bot: Bot, known: Mapping[str, str], *, read_only: bool) -> tuple[str, ...]:
    """The containers that hold the key being changed; `known` are the secrets before the change."""
    trading, reading = key_pairs(bot)
    if read_only:
        return READERS if has_pair(known, trading) else (*READERS, "risk_guard")
    return (bot.container, "risk_guard") if has_pair(known, reading) else (bot.container, "risk_guard", *READERS)


def _restart(containers: Sequence[str], folder: Path, *, in_files: bool) -> None:
    """Restart the containers. The listener backfills from the exchange, so that no fill is missed.

    A restart re-reads secret files; values from `.env` are fixed for a container's lifetime, so it must be recreated.
    """
    how = ["restart"] if in_files else ["up", "-d", "--no-deps"]
    command = ["docker", "compose", "-f", "docker-compose.production.yml", *how, *containers]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise Rejected(
            f"The key is changed, but the containers could not be restarted: {' '.join(done.stderr.split())[-200:]} "
            f"Run: {' '.join(command)}"
        )
