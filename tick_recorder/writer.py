"""Writes batches to the journal, then to parts; merges hours and deletes old ones. Runs in a worker thread, off the event loop."""

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import polars as pl

from alpha.errors import Misconfigured, Rejected
from alpha.logs import logger
from tick_recorder.columns import OWNER, Rejection
from tick_recorder.journal import Journal
from tick_recorder.recorder import Batch, in_order
from tick_recorder.schema import HOUR_MS, Key, Kind, hour_of
from tick_recorder.store import TickFile, TickStore, hour_start
from tick_recorder.stored import read_hour

log = logger(__name__)
#: How long after its end, in exchange time, an hour is kept open for late rows.
GRACE_MS = 60_000
T = TypeVar("T")
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(slots=True)
class WriterCounts:
    """Counters since startup, for metrics."""

    files: int = 0
    bytes_written: int = 0
    joined: int = 0
    hours_removed: int = 0
    failures: int = 0
    write_s: float = 0.0


@dataclass(slots=True)
class Report:
    """What one pass did that must be reported."""

    rejected: list[Rejection] = field(default_factory=list)
    written: list[tuple[TickFile, int]] = field(default_factory=list)
    joined: list[TickFile] = field(default_factory=list)
    #: Hours deleted because of a full disk, TICKS_MAX_GB and TICKS_RETENTION_DAYS.
    full: list[int] = field(default_factory=list)
    over_size: list[int] = field(default_factory=list)
    aged: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Writer:
    """Stores batches. `retention_days` 0 keeps everything, `most_bytes` 0 is no limit."""

    def __init__(self, store: TickStore, *, retention_days: int, most_bytes: int) -> None:
        self.counts = WriterCounts()
        self.bytes_used = 0
        self._store = store
        self._retention_days = retention_days
        self._most_bytes = most_bytes
        #: Hours with parts that are still to be merged.
        self._unjoined = {(file.kind, file.symbol, file.hour) for file in store.all_files() if not file.joined}
        self._joined: set[Key] = set()
        self._journal = Journal(store.root)
        self._waiting: dict[Key, list[pl.DataFrame]] = {}
        #: Since the last part: rows by kind, which key their `OWNER` is, and what is not in the journal yet.
        self._taken: dict[Kind, list[pl.DataFrame]] = {}
        self._numbers: dict[Key, int] = {}
        self._unsynced: list[tuple[Kind, pl.DataFrame]] = []

    def take(self, batch: Batch, report: Report) -> None:
        """Convert a batch to columns, which wait for `sync` and `write`. Removes its rows from the batch."""
        for kind, rows in batch.rows.items():
            frame, rejected = rows.to_frame()
            report.rejected += rejected
            if not len(frame):
                continue
            # one numbering of files from part to part, so that they are taken apart once
            numbers = pl.Series(
                [self._numbers.setdefault(key, len(self._numbers)) for key in rows.keys], dtype=pl.UInt32
            )
            frame = frame.with_columns(numbers.gather(frame[OWNER]).alias(OWNER))
            self._taken.setdefault(kind, []).append(frame)
            self._unsynced.append((kind, frame))
        batch.rows.clear()

    def sync(self, report: Report) -> None:
        """Write what was taken to the journal, so that it survives a kill. OSError if the write fails: it can be retried."""
        if self._unsynced:
            keys = list(self._numbers)
            newest = max(key[2] for key in keys)
            self._with_room(lambda: self._journal.add(self._unsynced, keys), newest, report)
            self._unsynced.clear()

    def write(self, report: Report) -> None:
        """Write everything taken as parts, gaps first. OSError if a write fails: the rest can be retried."""
        for frames in self._taken.values():
            whole, keys = pl.concat(frames), list(self._numbers)
            for (owner,), own in whole.partition_by(
                OWNER, maintain_order=True, include_key=False, as_dict=True
            ).items():
                self._waiting.setdefault(keys[owner], []).append(own)
        self._taken.clear()
        self._unsynced.clear()
        self._numbers.clear()
        for key in in_order(self._waiting):
            frame = pl.concat(self._waiting[key], rechunk=True)
            file = self._with_room(lambda: self._store.write_part(*key, frame), key[2], report)  # noqa: B023
            self.counts.files += 1
            self.counts.bytes_written += file.path.stat().st_size
            report.written.append((file, len(frame)))
            if key not in self._joined:
                self._unjoined.add(key)
            del self._waiting[key]
        self._journal.clear()

    def recover(self, report: Report) -> int:
        """Write what a killed process left in the journal as parts; returns how many rows. Misconfigured if the disk does
        not take them.
        """
        found: dict[Key, list[pl.DataFrame]] = {}
        for key, frame in self._journal.read():
            found.setdefault(key, []).append(frame)
        for key, frames in found.items():
            # it may have been killed between writing a part and clearing the journal
            there = read_hour(self._store, *key)
            place = ("gap_id", "received") if key[0] is Kind.GAPS else ("ts", "ordinal")
            frame = pl.concat(frames) if there is None else pl.concat(frames).join(there, on=place, how="anti")
            if len(frame):
                self._waiting[key] = [frame]
        rows = sum(len(frame) for frames in self._waiting.values() for frame in frames)
        try:
            self.write(report)
        except OSError as fault:
            raise Misconfigured(
                f"The rows that an earlier run left in {self._journal.folder} cannot be stored: {fault.strerror}. Make room."
            ) from None
        return rows

    def tidy(self, newest_ms: int, report: Report, *, everything: bool = False) -> None:
        """Merge completed hours. `newest_ms` is exchange time; `everything` merges the current hour too."""
        for key in sorted(self._unjoined, key=lambda key: key[2]):
            if not everything and (key[2] + 1) * HOUR_MS + GRACE_MS > newest_ms:
                continue
            self._unjoined.discard(key)
            try:
                joined = self._store.join(*key)
            except Rejected as fault:
                report.faults.append(str(fault))
            except OSError as fault:
                self._unjoined.add(key)
                if fault.errno not in _FULL:
                    raise
                return
            else:
                if joined is not None:
                    self.counts.joined += 1
                    report.joined.append(joined)
                    self._joined.add(key)
        # late parts of older hours stay parts until the next start
        self._joined = {key for key in self._joined if key[2] >= hour_of(newest_ms) - 24}

    def retain(self, newest_ms: int, report: Report) -> None:
        """Delete hours beyond the retention period and, above the size limit, the oldest ones."""
        files = self._store.all_files()
        sizes = {}
        for file in files:
            try:
                sizes[file.path] = file.path.stat().st_size
            except OSError:
                continue
        used = sum(sizes.values())
        keep_from = hour_of(newest_ms) - 24 * self._retention_days if self._retention_days else -1
        by_hour: dict[int, list[TickFile]] = {}
        for file in files:
            by_hour.setdefault(file.hour, []).append(file)
        for hour in sorted(by_hour)[:-1]:
            aged = hour < keep_from
            if not aged and not (self._most_bytes and used > self._most_bytes):
                break
            self._remove(hour, by_hour[hour])
            used -= sum(sizes.get(file.path, 0) for file in by_hour[hour])
            (report.aged if aged else report.over_size).append(hour)
        self.bytes_used = used

    def _with_room(self, write: Callable[[], T], hour: int, report: Report) -> T:
        """Call `write`, deleting the oldest hours while the disk is full."""
        while True:
            try:
                return write()
            except OSError as fault:
                self.counts.failures += 1
                if fault.errno not in _FULL:
                    raise
                oldest = self._oldest(before=hour)
                if not oldest:
                    raise
                self._remove(oldest[0].hour, oldest)
                report.full.append(oldest[0].hour)

    def _oldest(self, before: int) -> list[TickFile]:
        files = self._store.all_files()
        return [file for file in files if file.hour == files[0].hour and file.hour < before]

    def _remove(self, hour: int, files: list[TickFile]) -> None:
        self._store.remove_hour(files)
        self.counts.hours_removed += 1
        self._unjoined = {key for key in self._unjoined if key[2] != hour}
        log.info("hour_removed", hour=f"{hour_start(hour):%Y-%m-%d %H:00}", files=len(files))
