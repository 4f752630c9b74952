"""`alpha init`: asks for what only the operator knows, generates the rest, writes `.env` and `secrets/`."""

from collections.abc import Mapping
from pathlib import Path

import typer
from rich.console import Console

from alpha.config.env_file import invisible
from alpha.config.keys import TELEGRAM_TOKEN
from alpha.config.loader import env_file_in
from alpha.errors import Misconfigured
from alpha.registry import Bot, Registry, load_registry
from alpha_cli.installation.layout import READ_WITH_TRADING_KEY, generated, given, has_pair, key_pairs, tokens
from alpha_cli.installation.write import Installation, one_key, read_env, write_env

_EXCHANGES = {"demo": ("true", "false"), "testnet": ("false", "true"), "live": ("false", "false")}
_TWO_KEYS = (
    "Each bot has two keys of one account: one that trades, which the bot and the guard hold, and one made with Read-Only for "
    "the listener and the trade sync, which only read, so that nobody who gets into one of those can trade. "
    "Make both on the API page of that account at Bybit."
)


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
        env_file = env_file_in(folder)
        env = read_env(env_file)
        secret = [*generated(registry), *given(registry)]
        # Secrets from a plain .env move to secrets/.
        moved = {name: env[name] for name in secret if name in env}
        present = installation.read()
        for name, value in moved.items():
            if present.get(name, value) != value:
                raise Misconfigured(
                    f"{name} stands in {env_file.name} and, with another value, in {installation.folder.name}/installation.json. "
                    "Take the wrong one out, then run this again; nothing was changed."
                )
        left = {name: value for name, value in installation.left_over().items() if name in secret}
        known = {**left, **moved, **present}
        console = Console(stderr=True, soft_wrap=True)
        settings: dict[str, str] = {}
        chosen = one_key(env)
        if not accept:
            settings |= _exchange(env)
            console.print("Secrets are not shown. Press Enter to keep what is there, or to leave a bot out.")
            console.print(_TWO_KEYS)
            for bot in registry.bots:
                known |= _keys(bot, known)
                chosen = (chosen - {bot.id}) | _choice(console, bot, known, before=bot.id in chosen)
            for name in tokens(registry):
                known |= _token(name, known)
            admins = _admins()
            if admins:
                settings["C2_TELEGRAM_ADMIN_IDS"] = admins
        if chosen or READ_WITH_TRADING_KEY in env:
            settings[READ_WITH_TRADING_KEY] = ",".join(bot.id for bot in registry.bots if bot.id in chosen)
        # Secrets are removed from .env only once they are in secrets/, synced to disk and read back.
        changed = installation.write(known, chosen)
        with installation.copy_of(env_file):
            write_env(env_file, folder / ".env.example", settings, moved)
        console.print(f"Wrote {env_file.name} and secrets/ ({len(changed)} new or changed).")
        _weaker(console, registry, known, chosen)
        console.print(
            "Next: docker compose -f docker-compose.production.yml up -d, then the same with run --rm doctor."
        )


def _exchange(env: Mapping[str, str]) -> dict[str, str]:
    """Ask which exchange; Enter keeps the current one, or demo the first time."""
    said = (env.get("BYBIT_DEMO", "true").lower(), env.get("BYBIT_TESTNET", "false").lower())
    present = next((name for name, values in _EXCHANGES.items() if values == said), "demo")
    exchange = typer.prompt("Exchange (demo, testnet or live)", default=present, err=True)
    while exchange not in _EXCHANGES:
        exchange = typer.prompt("Please answer demo, testnet or live", default=present, err=True)
    demo, testnet = _EXCHANGES[exchange]
    return {"BYBIT_DEMO": demo, "BYBIT_TESTNET": testnet}


def _asked(name: str, known: Mapping[str, str]) -> dict[str, str]:
    """Ask for one secret; returns nothing when Enter was pressed."""
    state = " (kept)" if known.get(name) else ""
    while True:
        value = typer.prompt(f"{name}{state}", default="", hide_input=True, show_default=False, err=True).strip()
        hidden = invisible(value)
        if hidden is None:
            return {name: value} if value else {}
        typer.echo(f"{name} holds an invisible character ({hidden}). Copy it again, or type it.", err=True)


def _token(name: str, known: Mapping[str, str]) -> dict[str, str]:
    """Ask for a Telegram token until it has a token's form: the command centre would not start with another."""
    while True:
        new = _asked(name, known)
        if not new or TELEGRAM_TOKEN.fullmatch(new[name]):
            return new
        typer.echo(
            f"{name} is not a token (a token looks like 123456789:AA...). Copy it again from @BotFather.", err=True
        )


def _admins() -> str:
    """Ask for the admins' Telegram ids until they are numbers, or nothing."""
    while True:
        said: str = typer.prompt("C2_TELEGRAM_ADMIN_IDS (your number in Telegram)", default="", err=True).strip()
        if not said or all(part.strip().isdecimal() and part.isascii() for part in said.split(",")):
            return said
        typer.echo(f"{said!r} is not a list of Telegram ids. Type numbers, separated by commas.", err=True)


def _keys(bot: Bot, known: Mapping[str, str]) -> dict[str, str]:
    """Ask for both keys of a bot, and for a secret only if its key is new."""
    given_now: dict[str, str] = {}
    for key, secret in key_pairs(bot):
        new = _asked(key, known)
        if new or (known.get(key) and not known.get(secret)):
            new |= _asked(secret, {} if new else known)
        given_now |= new
    return given_now


def _choice(console: Console, bot: Bot, known: Mapping[str, str], *, before: bool) -> frozenset[str]:
    """Without a second key, ask whether to read with the trading key as well. Returns the bot's id if so."""
    trading, reading = key_pairs(bot)
    if not has_pair(known, trading) or has_pair(known, reading):
        return frozenset()
    console.print(f"{bot.id} has no read-only key. Without one the listener cannot record what it trades.")
    question = "Let the listener and the trade sync hold the key that trades? (weaker)"
    return frozenset({bot.id} if typer.confirm(question, default=before, err=True) else ())


def _weaker(console: Console, registry: Registry, known: Mapping[str, str], chosen: frozenset[str]) -> None:
    """Print, per bot, the risk that remains because a key is missing."""
    for bot in registry.bots:
        trading, reading = key_pairs(bot)
        if has_pair(known, reading) or not has_pair(known, trading):
            continue
        if bot.id in chosen:
            console.print(f"{bot.id}: the listener and the trade sync hold the key that trades, as chosen.")
        else:
            console.print(f"{bot.id}: the listener and the trade sync have no key, so nothing of it is recorded.")
        console.print(f"  Make a read-only key of the same account, then: alpha key {bot.container} --read-only")
