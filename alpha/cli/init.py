"""`alpha init`: asks what only the operator knows, makes the rest, writes `.env` and `secrets/`."""

from collections.abc import Mapping
from pathlib import Path

import typer
from rich.console import Console

from alpha.installation.layout import asked
from alpha.installation.write import Installation, read_env, write_env
from alpha.registry import load_registry

_EXCHANGES = {"demo": ("true", "false"), "testnet": ("false", "true"), "live": ("false", "false")}


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command()
    def init(
        folder: Path = typer.Option(Path(), "--folder", help="The checkout to set up."),
        accept: bool = typer.Option(False, "--yes", help="Ask nothing: generate passwords, leave the rest as it is."),
    ) -> None:
        """Set up this checkout: generated passwords, your keys, one folder of secrets a service. Safe to run again."""
        registry = load_registry(folder / "bots.toml")
        installation = Installation(folder, registry)
        known = installation.read()
        console = Console(stderr=True, soft_wrap=True)
        given: dict[str, str] = {}
        settings: dict[str, str] = {}
        if not accept:
            present = _exchange_of(read_env(folder / ".env"))
            exchange = typer.prompt("Exchange (demo, testnet or live)", default=present, err=True)
            while exchange not in _EXCHANGES:
                exchange = typer.prompt("Please answer demo, testnet or live", default=present, err=True)
            settings["BYBIT_DEMO"], settings["BYBIT_TESTNET"] = _EXCHANGES[exchange]
            console.print("Secrets are not shown. Press Enter to keep what is there, or to leave a bot out.")
            for name in asked(registry):
                state = " (kept)" if known.get(name) else ""
                given[name] = typer.prompt(f"{name}{state}", default="", hide_input=True, show_default=False, err=True)
            admins = typer.prompt("C2_TELEGRAM_ADMIN_IDS (your number in Telegram)", default="", err=True)
            if admins:
                settings["C2_TELEGRAM_ADMIN_IDS"] = admins
        changed = installation.write({name: value.strip() for name, value in given.items()})
        write_env(folder / ".env", folder / ".env.example", settings)
        console.print(f"Wrote .env and secrets/ ({len(changed)} new or changed). Next: alpha doctor")


def _exchange_of(env: Mapping[str, str]) -> str:
    """The exchange that is set already, so that Enter keeps it; demo before the first time."""
    said = (env.get("BYBIT_DEMO", "true").lower(), env.get("BYBIT_TESTNET", "false").lower())
    return next((name for name, values in _EXCHANGES.items() if values == said), "demo")
