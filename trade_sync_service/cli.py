"""`python main.py run|sync|backfill|status|reconcile`: arguments in, an exit code out."""

import argparse
import asyncio
import sys
from collections.abc import Coroutine

from alpha.config.loader import load
from alpha.errors import AlphaError
from alpha.logs import configure
from alpha.postgres.standby import single
from alpha.process import run as run_process
from trade_sync_service import commands
from trade_sync_service.service import serve
from trade_sync_service.settings import SyncSettings


def main(arguments: list[str] | None = None) -> int:
    """Run one command; expected errors are one sentence on standard error."""
    chosen = _parser().parse_args(arguments)
    try:
        settings = load(SyncSettings)
        configure("trade_sync_service", settings)
        if chosen.command == "run":
            return run_process(single("trade_sync_service", lambda stop, pulse: serve(settings, stop, pulse)))
        return asyncio.run(_command(chosen, settings))
    except AlphaError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    except KeyboardInterrupt:
        return 130


def _command(chosen: argparse.Namespace, settings: SyncSettings) -> Coroutine[None, None, int]:
    match chosen.command:
        case "sync":
            return commands.sync(settings, chosen.bot)
        case "backfill":
            months: int | None = chosen.months
            span = commands.months_back(months) if months is not None else commands.between(chosen.start, chosen.end)
            return commands.backfill(settings, chosen.bot, span)
        case "status":
            return commands.status(settings, chosen.bot)
        case _:
            wanted = commands.between(chosen.start, chosen.end) if chosen.start else None
            return commands.reconcile(settings, chosen.bot, wanted)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="main.py", description="Bybit's own account of closed trades, complete and reconciled."
    )
    parts = parser.add_subparsers(dest="command", required=True, metavar="run|sync|backfill|status|reconcile")
    parts.add_parser("run", help="the service: sync every bot now and once an hour")
    of_bots = argparse.ArgumentParser(add_help=False)
    of_bots.add_argument("--bot", action="append", default=[], metavar="ID", help="only this bot; may be repeated")
    ranged = argparse.ArgumentParser(add_help=False)
    ranged.add_argument("--from", dest="start", metavar="DATE", help="first day, UTC, such as 2025-01-31")
    ranged.add_argument("--to", dest="end", metavar="DATE", help="first day that is left out (default: now)")
    parts.add_parser("sync", parents=[of_bots], help="read now what is missing")
    backfill = parts.add_parser("backfill", parents=[of_bots, ranged], help="read what is missing of a range")
    backfill.add_argument("--months", type=int, metavar="N", help="the last N months (1 to 24) instead of a range")
    parts.add_parser("status", parents=[of_bots], help="how far each bot's history has been read")
    parts.add_parser("reconcile", parents=[of_bots, ranged], help="compare our books with the exchange's")
    return parser
