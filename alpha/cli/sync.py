"""`alpha sync`: read Bybit's closed trades, and compare the books."""

import asyncio

import typer

from alpha.settings import load

_BOT = typer.Option([], "--bot", metavar="ID", help="Only this bot; may be repeated.")
_FROM = typer.Option(None, "--from", metavar="DATE", help="First day, UTC, such as 2025-01-31.")
_TO = typer.Option(None, "--to", metavar="DATE", help="First day that is left out (default: now).")


def register(app: typer.Typer) -> None:
    """Add the group `sync` to `app`."""
    group = typer.Typer(help="Bybit's own account of closed trades, complete and reconciled.", no_args_is_help=True)

    @group.command()
    def now(bot: list[str] = _BOT) -> int:
        """Read now what is missing."""
        from trade_sync_service import commands
        from trade_sync_service.settings import SyncSettings

        return asyncio.run(commands.sync(load(SyncSettings), bot))

    @group.command()
    def backfill(
        months: int | None = typer.Option(None, "--months", metavar="N", help="The last N months, 1 to 24."),
        start: str | None = _FROM,
        end: str | None = _TO,
        bot: list[str] = _BOT,
    ) -> int:
        """Read what is missing of a range. Interrupted, it goes on where it was."""
        from trade_sync_service import commands
        from trade_sync_service.settings import SyncSettings

        span = commands.months_back(months) if months is not None else commands.between(start, end)
        return asyncio.run(commands.backfill(load(SyncSettings), bot, span))

    @group.command()
    def status(bot: list[str] = _BOT) -> int:
        """How far each bot's history has been read."""
        from trade_sync_service import commands
        from trade_sync_service.settings import SyncSettings

        return asyncio.run(commands.status(load(SyncSettings), bot))

    @group.command()
    def reconcile(start: str | None = _FROM, end: str | None = _TO, bot: list[str] = _BOT) -> int:
        """Compare our books with the exchange's; exit code 1 when differences are open."""
        from trade_sync_service import commands
        from trade_sync_service.settings import SyncSettings

        span = commands.between(start, end) if start else None
        return asyncio.run(commands.reconcile(load(SyncSettings), bot, span))

    app.add_typer(group, name="sync")
