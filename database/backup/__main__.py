"""`python -m database.backup` runs the service; `now`, `list`, `rehearse [FILE]`, `drill [FILE]` and `restore [FILE]` run once."""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from alpha.alerts import Alerts
from alpha.config.loader import load
from alpha.config.services import RedisSettings
from alpha.errors import AlphaError, Misconfigured
from alpha.health import HealthServer
from alpha.live_state.connect import RedisClients
from alpha.logs import configure
from alpha.process import LoopPulse, run
from alpha.registry import SHARED_DB
from database.backup.encryption import note_drill, readable
from database.backup.restore import read_card, rehearse, restore
from database.backup.retention import SHELVES, BackupStore
from database.backup.service import BackupService, wall_clock
from database.backup.settings import BackupSettings

NAME = "postgres_backup"


async def _serve(settings: BackupSettings, stop: asyncio.Event, pulse: LoopPulse) -> None:
    alerts = None
    if settings.redis_host is not None:
        alerts = Alerts(RedisClients(load(RedisSettings)).database(SHARED_DB), NAME)
    service = BackupService(settings, alerts)
    health = HealthServer(settings, pulse, {"backup": service.fault})
    try:
        await service.run(stop)
    finally:
        health.close()


async def _now(settings: BackupSettings) -> int:
    service = BackupService(settings)
    good = await service.once()
    newest = service.shelves.newest()
    if not good or newest is None:
        sys.stderr.write(f"{service.fault()}\n")
        return 1
    sys.stdout.write(f"{newest.path}\n")
    return 0


def _list(settings: BackupSettings) -> int:
    for shelf in SHELVES:
        for backup in BackupStore(settings.backup_dir).backups(shelf):
            card = read_card(backup)
            rows = "?" if card is None else sum(int(figures["rows"]) for figures in card["figures"].values())
            sys.stdout.write(f"{backup.name:<50} {backup.path.stat().st_size:>14,} bytes {rows:>12} rows\n")
    return 0


async def _rehearse(settings: BackupSettings, name: str, identity: Path | None, *, drill: bool) -> int:
    shelves = BackupStore(settings.backup_dir)
    backup = shelves.find(name)
    if drill and not backup.encrypted:
        raise Misconfigured(
            f"{backup.name} is not encrypted: a drill reads an encrypted one. Set BACKUP_AGE_RECIPIENTS."
        )
    async with readable(settings, backup, identity) as plain:
        rows = await rehearse(settings, plain)
    if backup.encrypted:
        note_drill(shelves, wall_clock())
    sys.stdout.write(f"{backup.name}: {rows} rows restored into a scratch database; all counts and sums are equal.\n")
    return 0


async def _restore(settings: BackupSettings, name: str, identity: Path | None) -> int:
    backup = BackupStore(settings.backup_dir).find(name)
    async with readable(settings, backup, identity) as plain:
        restored = await restore(settings, plain, wall_clock())
    sys.stdout.write(
        f"{settings.postgres_db} is now the backup of {backup.taken_at:%Y-%m-%d %H:%M} UTC, {restored.rows} rows.\n"
    )
    if restored.former is not None:
        sys.stdout.write(f"The former database is kept as {restored.former}; drop it when it is no longer wanted.\n")
    sys.stdout.write("Run the migrations, then start the services: the listener fetches the fills since then.\n")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m database.backup", description="Backups of PostgreSQL.")
    parser.add_argument(
        "command", nargs="?", default="run", choices=["run", "now", "list", "rehearse", "drill", "restore"]
    )
    parser.add_argument(
        "file", nargs="?", default="latest", help="a backup as 'list' names it; the newest when left out"
    )
    parser.add_argument("--identity", type=Path, help="the file of your private key of age, for an encrypted backup")
    words = parser.parse_args(arguments)
    os.umask(0o027)
    try:
        settings = load(BackupSettings)
        configure(NAME, settings)
        match words.command:
            case "run":
                return run(lambda stop, pulse: _serve(settings, stop, pulse))
            case "now":
                return asyncio.run(_now(settings))
            case "list":
                return _list(settings)
            case "rehearse" | "drill":
                drill = words.command == "drill"
                return asyncio.run(_rehearse(settings, words.file, words.identity, drill=drill))
            case _:
                return asyncio.run(_restore(settings, words.file, words.identity))
    except AlphaError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code


if __name__ == "__main__":
    sys.exit(main())
