"""The folder of backups: daily, weekly, monthly. The first daily backup of a week or month becomes that period's."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

from alpha.errors import Misconfigured

SHELVES = ("daily", "weekly", "monthly")
_FORM = "%Y%m%dT%H%M%SZ"
_DUMP, _CARD, _PARTIAL = ".dump", ".json", ".partial"
#: An encrypted backup has this ending too; its manifest stays readable.
AGE = ".age"
#: Folders in which a backup stands decrypted for the time of a drill.
DRILL = ".drill-"


@dataclass(frozen=True, order=True, slots=True)
class Backup:
    """One backup: when it was taken, and its file. Its manifest, next to it, describes the expected contents."""

    taken_at: datetime
    path: Path

    @property
    def manifest(self) -> Path:
        """The path of its manifest."""
        plain = self.path.with_suffix("") if self.encrypted else self.path
        return plain.with_suffix(_CARD)

    @property
    def encrypted(self) -> bool:
        """Whether it needs the operator's key."""
        return self.path.suffix == AGE

    @property
    def name(self) -> str:
        """The folder (daily, weekly, monthly) and file name."""
        return f"{self.path.parent.name}/{self.path.name}"


def due_at(newest: datetime | None, now: datetime, at: time) -> datetime:
    """When the next backup is due: at once if one was missed since `newest`, otherwise at the next `at`."""
    today = datetime.combine(now.date(), at, UTC)
    last_turn = today if today <= now else today - timedelta(days=1)
    if newest is None or newest < last_turn:
        return now
    return last_turn + timedelta(days=1)


class BackupStore:
    """The backups below one folder, readable by their owner and its group, whose members may copy them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self) -> None:
        """Create the folders and remove files left by a killed backup. Raises Misconfigured when that fails."""
        try:
            for shelf in SHELVES:
                (self.folder / shelf).mkdir(mode=0o750, parents=True, exist_ok=True)
                for left in (self.folder / shelf).glob(f"*{_PARTIAL}"):
                    left.unlink()
            for drill in self.folder.glob(f"{DRILL}*"):
                shutil.rmtree(drill, ignore_errors=True)
        except OSError as fault:
            raise Misconfigured(
                f"BACKUP_DIR {self.folder} cannot be written: {fault.strerror}. Give it to the user of this service."
            ) from None

    def backups(self, shelf: str = "daily") -> list[Backup]:
        """The backups of one shelf (daily, weekly or monthly), oldest first."""
        found = []
        folder = self.folder / shelf
        for path in (*folder.glob(f"*{_DUMP}"), *folder.glob(f"*{_DUMP}{AGE}")):
            stamp = path.name.removesuffix(AGE).removesuffix(_DUMP).rsplit("-", 1)[-1]
            try:
                found.append(Backup(datetime.strptime(stamp, _FORM).replace(tzinfo=UTC), path))
            except ValueError:
                continue
        return sorted(found)

    def newest(self) -> Backup | None:
        """The newest daily backup."""
        return max(self.backups(), default=None)

    def find(self, name: str) -> Backup:
        """Find `latest`, or a file by name or path. Raises Misconfigured when there is none."""
        if name == "latest":
            newest = self.newest()
            if newest is None:
                raise Misconfigured(f"There is no backup in {self.folder}. Take one with 'now', or check BACKUP_DIR.")
            return newest
        for shelf in SHELVES:
            for backup in self.backups(shelf):
                if name in {backup.path.name, backup.name, str(backup.path)}:
                    return backup
        raise Misconfigured(f"There is no backup {name!r} in {self.folder}. 'list' shows what there is.")

    def partial(self, database: str, taken_at: datetime) -> Path:
        """The path at which a new backup is written until it is complete."""
        return self.folder / "daily" / f"{database}-{taken_at.strftime(_FORM)}{_PARTIAL}"

    def keep(self, partial: Path, manifest: str, taken_at: datetime) -> Backup:
        """Turn a partial file into a backup atomically; link it as weekly and monthly if it is the first."""
        backup = Backup(taken_at, partial.with_suffix(_DUMP))
        _write(backup.manifest, manifest)
        _sync(partial)
        partial.replace(backup.path)
        _sync(backup.path.parent)
        week, month = taken_at.isocalendar()[:2], (taken_at.year, taken_at.month)
        if all(other.taken_at.isocalendar()[:2] != week for other in self.backups("weekly")):
            self._link(backup, "weekly")
        if all((other.taken_at.year, other.taken_at.month) != month for other in self.backups("monthly")):
            self._link(backup, "monthly")
        return backup

    def replace(self, backup: Backup, encrypted: Path) -> Backup:
        """Put the encrypted file in the place of the plain one, on every shelf; the plain one is gone afterwards."""
        made = Backup(backup.taken_at, backup.path.with_name(backup.path.name + AGE))
        _sync(encrypted)
        encrypted.replace(made.path)
        _sync(made.path.parent)
        for shelf in SHELVES:
            plain = self.folder / shelf / backup.path.name
            if plain.exists():
                if shelf != "daily":
                    os.link(made.path, plain.with_name(made.path.name))
                plain.unlink()
                _sync(plain.parent)
        return made

    def _link(self, backup: Backup, shelf: str) -> None:
        for path in (backup.manifest, backup.path):
            os.link(path, self.folder / shelf / path.name)
        _sync(self.folder / shelf)

    def first_of_week(self, taken_at: datetime) -> bool:
        """True when a backup taken then also becomes the weekly one."""
        week = taken_at.isocalendar()[:2]
        return all(other.taken_at.isocalendar()[:2] != week for other in self.backups("weekly"))

    def clear(self, kept: Mapping[str, int]) -> list[str]:
        """Remove the backups beyond the number kept per shelf, oldest first; returns the names.

        The daily shelf counts days, so that manual runs do not use up the quota: of days before yesterday only
        the newest backup stays, of the last two days all.
        """
        gone = []
        for shelf, number in kept.items():
            for backup in _beyond(self.backups(shelf), number, by_day=shelf == "daily"):
                backup.path.unlink()
                backup.manifest.unlink(missing_ok=True)
                gone.append(backup.name)
        return gone


def _beyond(backups: list[Backup], number: int, *, by_day: bool) -> list[Backup]:
    """The backups to remove, oldest first."""
    if not by_day:
        return backups[: max(0, len(backups) - number)]
    days = sorted({backup.taken_at.date() for backup in backups})
    kept, whole = set(days[-number:]), set(days[-min(2, number) :])
    newest = {backup.taken_at.date(): backup for backup in backups}
    return [
        backup
        for backup in backups
        if (day := backup.taken_at.date()) not in kept or (day not in whole and newest[day] is not backup)
    ]


def _write(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
