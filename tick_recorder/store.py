"""The tick files, `<kind>/symbol=<S>/date=<D>/<HH>.<number>.parquet`, and how parts are merged into one file per hour.

A file is synced, then renamed into place: a partial file never has a name that ends in `.parquet`. Numbers increase within
an hour. Parts are `<HH>.<number>.part.parquet`; a merged file, `<HH>.<number>.parquet`, supersedes everything of its hour
with a smaller number. So a process killed between writing it and deleting its parts duplicates no row: readers skip
superseded files, and the next startup deletes them.
"""

import fcntl
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from alpha.errors import Misconfigured, Rejected
from alpha.model.timestamp import EPOCH
from tick_recorder.schema import SCHEMAS, Kind

#: Files per hour above which its parts are merged early; one more is written and one is the merged file.
MOST_FILES = 58
_NAME = re.compile(r"(\d{2})\.(\d{6})(\.part)?\.parquet")
_SYMBOL = re.compile(r"symbol=([A-Za-z0-9_-]+)")
_DATE = re.compile(r"date=(\d{4}-\d{2}-\d{2})")
#: zstd's fastest level: level 3 saves 4 % of the bytes for 30 % more time.
LEVEL = 1


@dataclass(frozen=True, slots=True, order=True)
class TickFile:
    """One file of the store. `hour` counts from 1970 UTC."""

    kind: Kind
    symbol: str
    hour: int
    number: int
    joined: bool
    path: Path

    def read(self) -> pl.DataFrame:
        """Its rows. Rejected, naming the file, if it is unreadable or has another schema."""
        schema = SCHEMAS[self.kind]
        try:
            frame = pl.read_parquet(self.path, hive_partitioning=False)
        except (OSError, pl.exceptions.PolarsError) as fault:
            reason = str(fault).splitlines()[0][:200]
            raise Rejected(f"{self.path} cannot be read: {reason}. Remove it, or restore it from a copy.") from None
        missing = [name for name in schema if name not in frame.columns]
        if missing:
            raise Rejected(f"{self.path} has no column {missing[0]!r}: not a file of the tick recorder. Remove it.")
        return frame.select(schema.keys())


def hour_start(hour: int) -> datetime:
    """The start of an hour, aware UTC."""
    return EPOCH + timedelta(hours=hour)


class TickStore:
    """The tick folder. One process writes, any number read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock: int | None = None

    # -- reading ------------------------------------------------------------------------------------------------

    def symbols(self, kind: Kind) -> list[str]:
        """The symbols with stored files."""
        with suppress(OSError):
            found = (_SYMBOL.fullmatch(entry.name) for entry in os.scandir(self.root / kind))
            return sorted(match.group(1) for match in found if match)
        return []

    def files(self, kind: Kind, symbol: str, first: int = 0, last: int = 1 << 40) -> list[TickFile]:
        """The current files of the hours `first` to `last`, in order, without superseded ones."""
        by_hour: dict[int, list[TickFile]] = {}
        for file in self.every_file(kind, symbol, first, last):
            by_hour.setdefault(file.hour, []).append(file)
        return [file for hour in sorted(by_hour) for file in current(by_hour[hour])]

    def every_file(self, kind: Kind, symbol: str, first: int = 0, last: int = 1 << 40) -> list[TickFile]:
        """All files of the hours `first` to `last`, including superseded ones, in order. Foreign files are ignored."""
        folder = self.root / kind / f"symbol={symbol}"
        found = []
        # of one hour without looking at every day that is stored
        dates = _dates(folder) if first != last else [(hour_start(first).date(), _date_folder(folder, first))]
        for day_of, path in dates:
            day = (day_of - EPOCH.date()).days * 24
            if day + 24 <= first or day > last:
                continue
            for name in _names(path):
                match = _NAME.fullmatch(name)
                if match is None or not first <= day + int(match.group(1)) <= last:
                    continue
                number, part = int(match.group(2)), match.group(3)
                found.append(TickFile(kind, symbol, day + int(match.group(1)), number, part is None, path / name))
        return sorted(found)

    def newest_hour(self, kind: Kind, symbol: str) -> int | None:
        """The newest stored hour; None if there is none."""
        files = self.every_file(kind, symbol)
        return files[-1].hour if files else None

    def bytes_used(self) -> int:
        """The total size of all tick files."""
        return sum(file.path.stat().st_size for file in self.all_files())

    def all_files(self) -> list[TickFile]:
        """Every file of every kind, oldest hour first."""
        found = [file for kind in Kind for symbol in self.symbols(kind) for file in self.every_file(kind, symbol)]
        return sorted(found, key=lambda file: (file.hour, file.kind, file.symbol, file.number))

    # -- writing ------------------------------------------------------------------------------------------------

    def open(self) -> list[Path]:
        """Become the writer: create and lock the folder, delete leftovers of a killed writer. Returns the deleted files.

        Misconfigured if the folder is not writable or another recorder has locked it.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.root / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Misconfigured(
                f"TICKS_DIR names {self.root}, into which another tick recorder writes. Stop that one, or choose another folder."
            ) from None
        except OSError as fault:
            raise Misconfigured(
                f"TICKS_DIR names {self.root}, which cannot be written: {fault.strerror}. Make it writable or choose another folder."
            ) from None
        left = [path for kind in Kind for path in (self.root / kind).glob("symbol=*/date=*/.*.tmp")]
        left += (self.root / ".journal").glob(".*.tmp")
        for kind in Kind:
            for symbol in self.symbols(kind):
                every = self.every_file(kind, symbol)
                kept = {file.path for file in self.files(kind, symbol)}
                left += [file.path for file in every if file.path not in kept]
        for path in left:
            path.unlink(missing_ok=True)
        return left

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write_part(self, kind: Kind, symbol: str, hour: int, frame: pl.DataFrame) -> TickFile:
        """Store rows of one hour as a part, durable on return. OSError if the write fails."""
        files = self.every_file(kind, symbol, hour, hour)
        if len(files) >= MOST_FILES:
            joined = self.join(kind, symbol, hour)
            files = [joined] if joined is not None else []
        return self._write(kind, symbol, hour, _next(files), frame, joined=False)

    def join(self, kind: Kind, symbol: str, hour: int) -> TickFile | None:
        """Merge an hour into one file, sorted by time and ordinal. None if nothing is stored.

        Unreadable parts are set aside and the rest merged; then Rejected names the first of them.
        """
        files = current(self.every_file(kind, symbol, hour, hour))
        if not files or (len(files) == 1 and files[0].joined):
            return files[0] if files else None
        rows, broken = _read_together(kind, files)
        if rows is not None:
            # rename an unreadable part, or the merged file would supersede it
            for file, _ in broken:
                file.path.rename(file.path.with_name(f"{file.path.name}.unreadable"))
            joined = self._write(kind, symbol, hour, _next(files), rows, joined=True)
            for file in files:
                file.path.unlink(missing_ok=True)
            if broken:
                raise broken[0][1]
            return joined
        raise broken[0][1]

    def remove_hour(self, files: Sequence[TickFile]) -> None:
        """Delete files, and their folders if empty."""
        for file in files:
            file.path.unlink(missing_ok=True)
        for folder in {file.path.parent for file in files}:
            with suppress(OSError):
                folder.rmdir()

    def _write(self, kind: Kind, symbol: str, hour: int, number: int, frame: pl.DataFrame, *, joined: bool) -> TickFile:
        folder = _date_folder(self.root / kind / f"symbol={symbol}", hour)
        name = f"{hour % 24:02}.{number:06d}{'' if joined else '.part'}.parquet"
        # encode in memory first, so that an error while writing is one of the disk
        made = io.BytesIO()
        if joined:
            frame.write_parquet(made, compression="zstd", compression_level=LEVEL)
        else:
            # read once more within the hour, by `join`: compressing it would cost as much as the whole rest, and its smallest
            # and largest values a fifth of it
            frame.write_parquet(made, compression="uncompressed", statistics=False)
        save(folder / name, made.getbuffer())
        return TickFile(kind, symbol, hour, number, joined, folder / name)


def save(path: Path, content: memoryview) -> None:
    """Make a file appear whole or not at all, durable when this returns. OSError when the disk does not take it."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        try:
            file = temporary.open("wb")
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = temporary.open("wb")
        with file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        _sync_folder(path.parent)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def current(files: Iterable[TickFile]) -> list[TickFile]:
    """The current files of one hour: the newest merged one and those after it."""
    ordered = sorted(files, key=lambda file: file.number)
    newest = max((file.number for file in ordered if file.joined), default=-1)
    return [file for file in ordered if file.number >= newest]


def _read_together(
    kind: Kind, files: Sequence[TickFile]
) -> tuple[pl.DataFrame | None, list[tuple[TickFile, Rejected]]]:
    """The sorted rows of all files, or None if all are unreadable; and the unreadable files."""
    paths = [file.path for file in files]
    try:
        scan = pl.scan_parquet(paths, hive_partitioning=False, glob=False)
        return _in_order(scan.select(SCHEMAS[kind].keys()).collect()), []
    except (OSError, pl.exceptions.PolarsError):
        # at least one is unreadable: read them one by one
        frames, broken = [], []
        for file in files:
            try:
                frames.append(file.read())
            except Rejected as fault:
                broken.append((file, fault))
        return (_in_order(pl.concat(frames)) if frames else None), broken


def _in_order(frame: pl.DataFrame) -> pl.DataFrame:
    """By time and ordinal. Nearly every hour is in order already, which is seen for a fraction of what sorting costs."""
    ts, ordinal = pl.col("ts"), pl.col("ordinal")
    before, same = ts.shift(1) < ts, (ts.shift(1) == ts) & (ordinal.shift(1) <= ordinal)
    if frame.select((before | same).all()).item():
        return frame
    return frame.sort("ts", "ordinal", maintain_order=True)


def _next(files: Sequence[TickFile]) -> int:
    return max((file.number for file in files), default=0) + 1


def _date_folder(folder: Path, hour: int) -> Path:
    return folder / f"date={hour_start(hour):%Y-%m-%d}"


def _names(folder: Path) -> list[str]:
    with suppress(OSError):
        return os.listdir(folder)
    return []


def _dates(folder: Path) -> Iterator[tuple[date, Path]]:
    for name in _names(folder):
        match = _DATE.fullmatch(name)
        if match is not None:
            with suppress(ValueError):
                yield datetime.strptime(match.group(1), "%Y-%m-%d").replace(tzinfo=UTC).date(), folder / name


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
