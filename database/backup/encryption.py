"""Encrypted backups by `age`, the drill that reads one with the operator's key, and the hook that copies one elsewhere.

The service knows public keys only: whoever reads this host's backups reads nothing. What only the operator can read only the operator can
prove: `drill` decrypts a backup with the private key, restores it into a scratch database and compares it.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from alpha.errors import Fatal, Misconfigured
from database.backup.retention import AGE, DRILL, Backup, BackupStore
from database.backup.settings import BackupSettings

DRILL_EVERY = timedelta(days=31)
HOOK_LIMIT_S = 3_600.0
_DRILLED = "last-drill"
_HEADER = b"age-encryption.org/v1"


async def encrypt(settings: BackupSettings, shelves: BackupStore, backup: Backup) -> Backup:
    """Encrypt a backup for the recipients; the plain file is gone afterwards. Raises Misconfigured or Fatal; it stays then."""
    target = backup.path.with_name(f"{backup.path.name}{AGE}.partial")
    options = [word for recipient in settings.recipients() for word in ("--recipient", recipient)]
    try:
        await _run(settings, *options, "--output", str(target), str(backup.path))
        with target.open("rb") as file:
            if file.read(len(_HEADER)) != _HEADER:
                raise Fatal(f"{settings.backup_age_program} wrote a file that is not encrypted by age.")
        target.chmod(0o640)
        return shelves.replace(backup, target)
    finally:
        target.unlink(missing_ok=True)


@asynccontextmanager
async def readable(settings: BackupSettings, backup: Backup, identity: Path | None) -> AsyncIterator[Backup]:
    """The backup as a plain one: itself, or decrypted with the private key in `identity` into a file that goes afterwards."""
    if not backup.encrypted:
        yield backup
        return
    if identity is None:
        raise Misconfigured(f"{backup.name} is encrypted: name the file of your private key with --identity.")
    if not await asyncio.to_thread(identity.is_file):
        raise Misconfigured(f"--identity names {identity}, which is not a file.")
    folder = Path(tempfile.mkdtemp(prefix=DRILL, dir=settings.backup_dir))
    try:
        plain = folder / backup.path.with_suffix("").name
        await _run(settings, "--decrypt", "--identity", str(identity), "--output", str(plain), str(backup.path))
        found = Backup(backup.taken_at, plain)
        if backup.manifest.exists():
            shutil.copy(backup.manifest, found.manifest)
        yield found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def note_drill(shelves: BackupStore, now: datetime) -> None:
    """Remember that a drill has succeeded."""
    (shelves.folder / _DRILLED).write_text(f"{now.isoformat()}\n", encoding="utf-8")


def last_drill(shelves: BackupStore) -> datetime | None:
    """When a drill last succeeded; None when never, or when the note cannot be read."""
    try:
        found = datetime.fromisoformat((shelves.folder / _DRILLED).read_text(encoding="utf-8").strip())
    except (OSError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


async def run_hook(settings: BackupSettings, backup: Backup) -> bool:
    """Run the operator's program with the paths of the backup and its manifest; False without one.

    Raises Fatal when it fails or hangs.
    """
    if settings.backup_hook is None:
        return False
    try:
        process = await asyncio.create_subprocess_exec(
            str(settings.backup_hook), str(backup.path), str(backup.manifest),
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    except OSError as fault:
        raise Misconfigured(f"BACKUP_HOOK {settings.backup_hook} cannot be run: {fault.strerror}.") from None
    try:
        async with asyncio.timeout(HOOK_LIMIT_S):
            _, complained = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise Fatal(f"BACKUP_HOOK did not end within {HOOK_LIMIT_S:.0f} s; {backup.name} is not copied.") from None
    if process.returncode != 0:
        said = " ".join(complained.decode(errors="replace").split())[-300:]
        raise Fatal(f"BACKUP_HOOK ended with {process.returncode}; {backup.name} is not copied. {said}")
    return True


async def _run(settings: BackupSettings, *arguments: str) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            settings.backup_age_program, *arguments, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    except OSError:
        raise Misconfigured(
            f"{settings.backup_age_program} cannot be run. Install age, or set BACKUP_AGE_PROGRAM."
        ) from None
    _, complained = await process.communicate()
    if process.returncode != 0:
        raise Fatal(f"age failed: {' '.join(complained.decode(errors='replace').split())[-300:]}")
