"""`alpha sync`: reads Bybit's closed trades and reconciles them with our records."""

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING

import typer

from alpha.config.loader import load
from alpha.logs import configure

if TYPE_CHECKING:
    from trade_sync_service.settings import SyncSettings

_BOT = typer.Option([], "--bot", metavar="ID", help="Only this bot; may be repeated.")
_FROM = typer.Option(None, "--from", metavar="DATE", help="First day, UTC, such as 2025-01-31.")
_TO = typer.Option(None, "--to", metavar="DATE", help="First day that is left out (default: now).")


def register(app: typer.Typer) -> None:
    """Add the group `sync` to `app`."""
    group = typer.Typer(help="Bybit's own account of closed trades, complete and reconciled.")

    @group.callback(invoke_without_command=True)
    def sync(context: typer.Context, bot: list[str] = _BOT) -> None:
        """Read now what is missing of Bybit's closed trades."""
        if context.invoked_subcommand is not None:
            return
        from trade_sync_service import commands

        _run(commands.sync(_settings(), bot))

    @group.command()
    def backfill(
        months: int | None = typer.Option(None, "--months", metavar="N", help="The last N months, 1 to 24."),
        start: str | None = _FROM,
        end: str | None = _TO,
        bot: list[str] = _BOT,
    ) -> None:
        """Read what is missing of a range. Interrupted, it goes on where it was."""
        from trade_sync_service import commands

        span = commands.months_back(months) if months is not None else commands.between(start, end)
        _run(commands.backfill(_settings(), bot, span))

    @group.command()
    def status(bot: list[str] = _BOT) -> None:
        """How far each bot's history has been read."""
        from trade_sync_service import commands

        _run(commands.status(_settings(), bot))

    @group.command()
    def reconcile(start: str | None = _FROM, end: str | None = _TO, bot: list[str] = _BOT) -> None:
        """Compare our books with the exchange's; exit code 1 when differences are open."""
        from trade_sync_service import commands

        span = commands.between(start, end) if start else None
        _run(commands.reconcile(_settings(), bot, span))

    app.add_typer(group, name="sync")


def _run(command: Coroutine[None, None, int]) -> None:
    """Run a command and end with its exit code."""
    raise typer.Exit(asyncio.run(command))


def _settings() -> "SyncSettings":
    from trade_sync_service.settings import SyncSettings

    settings = load(SyncSettings)
    configure("alpha", settings)
    return settings
