"""Batches to files, hours joined, old hours deleted. Runs in a thread of its own: nothing here waits on the event loop."""

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import polars as pl

from alpha.errors import Rejected
from alpha.logs import logger
from tick_recorder.columns import Rejection, Row, to_frame
from tick_recorder.recorder import Batch, Key, in_order
from tick_recorder.schema import HOUR_MS, Kind, hour_of
from tick_recorder.store import TickFile, TickStore, hour_start

log = logger(__name__)
#: So much of the exchange's time an hour stays open for what comes late.
GRACE_MS = 60_000
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(slots=True)
class WriterCounts:
    """What was done since the start, for metrics."""

    files: int = 0
    bytes_written: int = 0
    joined: int = 0
    hours_removed: int = 0
    failures: int = 0
    write_s: float = 0.0


@dataclass(slots=True)
class Report:
    """What one turn did that somebody should hear of."""

    rejected: list[Rejection] = field(default_factory=list)
    written: list[tuple[TickFile, int]] = field(default_factory=list)
    joined: list[TickFile] = field(default_factory=list)
    #: Hours deleted because the disk was full, because of TICKS_MAX_GB, because of TICKS_RETENTION_DAYS.
    full: list[int] = field(default_factory=list)
    over_size: list[int] = field(default_factory=list)
    aged: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Writer:
    """Stores batches. `retention_days` 0 keeps everything, `most_bytes` 0 has no limit."""

    def __init__(self, store: TickStore, *, retention_days: int, most_bytes: int) -> None:
        self.counts = WriterCounts()
        self.bytes_used = 0
        self._store = store
        self._retention_days = retention_days
        self._most_bytes = most_bytes
        #: Hours that have parts and are to be joined.
        self._unjoined = {(file.kind, file.symbol, file.hour) for file in store.all_files() if not file.joined}
        self._joined: set[tuple[Kind, str, int]] = set()

    def write(self, batch: Batch, report: Report) -> None:
        """Store a batch, gaps first. OSError when the disk does not take it: what is left of it can be tried again."""
        frames: dict[Kind, _Converted] = {}
        for key in in_order(batch.rows):
            kind, symbol, hour = key
            if kind not in frames:
                frames[kind] = _Converted(kind, batch.rows)
            frame = frames[kind].of(key)
            if len(frame):
                file = self._with_room(lambda: self._store.write_part(kind, symbol, hour, frame), hour, report)  # noqa: B023
                self.counts.files += 1
                self.counts.bytes_written += file.path.stat().st_size
                report.written.append((file, len(frame)))
                if key not in self._joined:
                    self._unjoined.add(key)
            report.rejected += frames[kind].rejected.pop(key, [])
            del batch.rows[key]

    def tidy(self, newest_ms: int, report: Report, *, everything: bool = False) -> None:
        """Join hours that are over and delete what is too old or too much. `newest_ms` is the exchange's time."""
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
        """Delete what is older than allowed and, beyond the allowed size, the oldest hours."""
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

    def _with_room(self, write: Callable[[], TickFile], hour: int, report: Report) -> TickFile:
        """What `write` gives; while the disk is full the oldest hours make room."""
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


class _Converted:
    """All rows of one kind as one frame, because converting many small frames costs more than their rows."""

    def __init__(self, kind: Kind, rows: Mapping[Key, list[Row]]) -> None:
        self.rejected: dict[Key, list[Rejection]] = {}
        self._frames: dict[Key, pl.DataFrame] = {}
        keys = [key for key in rows if key[0] is kind]
        whole, bad = to_frame(kind, [row for key in keys for row in rows[key]])
        begin = 0
        for key in keys:
            if bad:
                # which row belongs to which file is no longer plain: one by one
                self._frames[key], self.rejected[key] = to_frame(kind, rows[key])
            else:
                self._frames[key] = whole.slice(begin, len(rows[key]))
            begin += len(rows[key])

    def of(self, key: Key) -> pl.DataFrame:
        """The rows of one file."""
        return self._frames[key]
