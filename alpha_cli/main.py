"""The command `alpha`: each package adds its own commands, and only the requested one is imported."""

import asyncio
import errno
import importlib
import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import Any

import typer
import typer.core

from alpha.errors import AlphaError, Misconfigured
from alpha.terminal import make_safe
from alpha_cli.missing_package import advice_for

#: Command to its module in this package; `operate` has those of the table in operations.commands.
PARTS = {
    "init": "init",
    "upgrade": "upgrade",
    "password": "password",
    "observe": "observe",
    "alert": "alert",
    "doctor": "doctor",
    "key": "key",
    "render": "render",
    "db": "db",
    "export": "export",
    "sync": "sync",
    "backtest": "backtest",
    "sweep": "sweep",
    "compare": "compare",
    "portfolio": "portfolio",
    "check": "check",
    "data": "data",
    "new-strategy": "new_strategy",
    "access-code": "access_code",
    "token": "token",
    "mcp": "mcp",
    "ticks": "ticks",
    "slippage": "ticks",
    "model": "model",
}
OPERATE = "operate"
_NOT_WRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG})
#: Commands whose settings file need not exist yet.
CREATES_ENV_FILE = {"init"}
HELP = """Several trading bots on Bybit as one system: what they do, what they earned, and how to steer them.

Every command has --help. The same queries and commands work in Telegram, as /status and so on.
"""
#: The commands by purpose, in the order they are needed.
SECTIONS = (
    ("Watch an account of your own", ("observe",)),
    (
        "Set up",
        ("init", "upgrade", "doctor", "key", "password", "access-code", "token", "mcp", "new-strategy", "render"),
    ),
    (
        "Current state",
        (
            "status",
            "positions",
            "chart",
            "orders",
            "balance",
            "fills",
            "exposure",
            "risk",
            "whitelist",
            "health",
            "alerts",
            "alert",
            "logs",
            "version",
            "config",
        ),
    ),
    ("Performance", ("analytics", "trades", "trade", "daily", "weekly", "monthly", "performance", "entries")),
    (
        "Control",
        (
            "start",
            "stop",
            "restart",
            "pause",
            "resume",
            "adopt",
            "close",
            "movestop",
            "cancelorder",
            "blacklist",
            "unblacklist",
            "flatten",
            "panic",
            "cancel",
        ),
    ),
    ("Reconciliation", ("sync", "issues", "drift", "audit", "db", "export")),
    ("Test a strategy", ("data", "backtest", "check", "sweep", "portfolio", "compare")),
    ("Models", ("model",)),
    ("Market", ("analysis", "ticks", "slippage")),
)


class Pages(typer.core.TyperGroup):
    """Lists the commands in the help by purpose."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section per purpose; unlisted commands come last, so that none is hidden."""
        left = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        width = max(map(len, left), default=0)
        for title, names in (*SECTIONS, ("More", tuple(left))):
            rows = [
                (name.ljust(width), command.get_short_help_str(limit=200))
                for name in names
                if (command := left.pop(name, None)) is not None and not command.hidden
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code. Expected errors are one sentence on standard error."""
    words = sys.argv[1:] if arguments is None else arguments
    make_safe()
    if not words and sys.stdout.isatty() and sys.stdin.isatty():
        watched = _watch()
        if watched is not None:
            return watched
    try:
        typer.main.get_command(build(words))(words, prog_name="alpha")
    except AlphaError as fault:
        sys.stderr.write(f"{_as_typed_here(str(fault))}\n")
        return fault.exit_code
    except ModuleNotFoundError as fault:
        advice = advice_for(fault)
        if advice is None:
            raise
        sys.stderr.write(f"{advice}\n")
        return 2
    except OSError as fault:
        if fault.errno in _NOT_WRITABLE:
            where, why = fault.filename or "A file", fault.strerror or fault
            sys.stderr.write(f"{where} cannot be written: {why}. Mend that and run it again.\n")
        else:
            sys.stderr.write(f"The command failed: {fault}.\n")
        return 2
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        sys.stderr.write("Not done.\n")
        return 130
    except Exception as fault:
        known = _expected(fault, words)
        if known is None:
            raise
        sys.stderr.write(f"{known}\n")
        return known.exit_code
    return 0


def _as_typed_here(text: str) -> str:
    """A sentence that names a command as Telegram does, with the form in which it is typed here: /trades is alpha trades."""
    commands = sys.modules.get("operations.commands")
    if commands is None:
        return text
    names = "|".join(map(re.escape, commands.BY_NAME))
    return re.sub(rf"(?<![\w/.~-])/({names})(?![\w/-])", r"alpha \1", text)


def _expected(fault: Exception, words: list[str]) -> AlphaError | None:
    """The error of a candle file or of PostgreSQL as one sentence; None for any other.

    Their modules are looked up among those that the command has imported: not every image holds them.
    """
    candles = sys.modules.get("exchange_simulator.candle_files")
    if candles is not None and isinstance(fault, candles.CandleFault):
        return Misconfigured(str(fault))
    asyncpg = sys.modules.get("asyncpg")
    if asyncpg is None:
        return None
    if not isinstance(fault, (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)):
        return None
    # Here, after the imports of a command that asks PostgreSQL: the others start without them.
    from alpha.config.loader import load
    from alpha.config.services import DatabaseSettings
    from alpha.postgres.errors import explained
    from alpha.postgres.migrate import MigrateSettings

    try:
        return explained(fault, load(MigrateSettings if _command(words) == "db" else DatabaseSettings))
    except AlphaError as other:
        return other


def _watch() -> int | None:
    """The live view; None where no settings are at hand, or nothing answers: the help says more then."""
    try:
        # By name, as the commands are: images that hold only some commands would otherwise get the pages, too.
        asyncio.run(importlib.import_module(f"{__package__}.live").watch())
    except (ModuleNotFoundError, AlphaError):
        return None
    except KeyboardInterrupt:
        pass
    return 0


def build(words: list[str]) -> typer.Typer:
    """The application with the command named in `words`; with all commands if none is named."""
    app = typer.Typer(cls=Pages, help=HELP, no_args_is_help=True, add_completion=False, rich_markup_mode=None)

    @app.callback()
    def house(
        env_file: Path | None = typer.Option(
            None,
            "--env-file",
            envvar="ALPHA_ENV_FILE",
            help="The file of settings, beside the environment; .env without it.",
        ),
    ) -> None:
        """Several trading bots on Bybit as one system."""
        if env_file is None:
            return
        if not env_file.is_file() and not CREATES_ENV_FILE & set(words):
            raise Misconfigured(f"--env-file names {env_file}, which is not a file.")
        os.environ["ALPHA_ENV_FILE"] = str(env_file)

    wanted = _command(words)
    if wanted in PARTS and _exists(PARTS[wanted]):
        _add(app, PARTS[wanted])
        return app
    _add(app, OPERATE)
    if wanted not in {command.name for command in app.registered_commands}:
        for name in dict.fromkeys(PARTS.values()):
            if _exists(name):
                _add(app, name)
    return app


def _command(words: list[str]) -> str | None:
    """The first word that is a command: neither an option nor an option's value."""
    left = iter(words)
    for word in left:
        if word == "--env-file":
            next(left, None)
        elif not word.startswith("-"):
            return word
    return None


def _add(app: typer.Typer, name: str) -> None:
    importlib.import_module(f"{__package__}.commands.{name}").register(app)


def _exists(name: str) -> bool:
    return importlib.util.find_spec(f"{__package__}.commands.{name}") is not None
