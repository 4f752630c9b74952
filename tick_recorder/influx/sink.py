"""Feeds InfluxDB from the files: each part as it is written, and whole hours again where the two differ.

Only stored rows are sent, and the recorder never waits for InfluxDB. While it is unavailable, the missing hours are noted and
later sent again from the files and counted; sending a row twice leaves one point. Hours left incomplete by a killed process
are found at the next startup, by comparing the counts of the last days hour by hour.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import polars as pl

from alpha.alert_batcher import AlertBatcher
from alpha.alerts import Alert, Level
from alpha.errors import AlphaError, Misconfigured, Retry
from alpha.influx import InfluxClient, LinesRefused
from alpha.logs import logger
from tick_recorder.influx.lines import COUNTED, to_lines
from tick_recorder.schema import HOUR_MS, Kind, hour_of
from tick_recorder.settings import RecorderSettings
from tick_recorder.store import TickFile, TickStore
from tick_recorder.stored import read_hour

log = logger(__name__)
LINES_AT_ONCE = 5_000
QUEUE_FILES = 2_000
PAUSE_S = 2.0
#: More refused lines than this in one request means that the rows are not at fault.
MOST_REFUSED = 50
#: How often an hour whose count stays wrong is sent again before it is left to the next startup.
TRIES = 3
Hour = tuple[Kind, str, int]


@dataclass(slots=True)
class SinkCounts:
    """Counters since startup, for metrics."""

    rows: int = 0
    rejected: int = 0
    beyond_retention: int = 0
    failures: int = 0
    refilled: int = 0


@dataclass(slots=True)
class Refused:
    """The lines of a request that InfluxDB will never accept: each bad one with its fault, and how many are older than it
    keeps points, of which the first is an example.
    """

    bad: list[tuple[str, str]] = field(default_factory=list)
    beyond_retention: int = 0
    example: tuple[str, str] | None = None

    def __len__(self) -> int:
        return len(self.bad) + self.beyond_retention


class InfluxSink:
    """The sink. `reject(line, fault)` is called for lines that InfluxDB will never accept; of those older than it keeps
    points, for the first alone: the rest, which may be millions, are counted.
    """

    def __init__(
        self,
        settings: RecorderSettings,
        store: TickStore,
        reject: Callable[[str, str], None],
        alerts: AlertBatcher,
        *,
        pause_s: float = PAUSE_S,
    ) -> None:
        self.counts = SinkCounts()
        self.fault = ""
        self._check_days = settings.influx_check_days
        self._client = InfluxClient(settings)
        self._store = store
        self._reject = reject
        self._alerts = alerts
        self._pause_s = pause_s
        self._queue: deque[TickFile] = deque()
        self._missing: set[Hour] = set()
        self._over: set[Hour] = set()
        self._tries: dict[Hour, int] = {}
        self._wake = asyncio.Event()
        self._checked = False

    @property
    def behind(self) -> int:
        """How many hours are known to be incomplete in InfluxDB."""
        return len(self._missing)

    @property
    def idle(self) -> bool:
        """True if everything stored was sent and counted."""
        return self._checked and not (self._queue or self._missing or self._over)

    def state(self) -> dict[str, object]:
        """Details for the health endpoint."""
        return {
            "fault": self.fault,
            "behind_hours": self.behind,
            "waiting_files": len(self._queue),
            "beyond_retention": self.counts.beyond_retention,
        }

    def written(self, files: Iterable[tuple[TickFile, int]], joined: Iterable[TickFile]) -> None:
        """Queue stored parts, and hours that are complete."""
        for file, _ in files:
            if file.kind in COUNTED:
                self._queue.append(file)
                if len(self._queue) > QUEUE_FILES:
                    oldest = self._queue.popleft()
                    self._missing.add((oldest.kind, oldest.symbol, oldest.hour))
        self._over |= {(file.kind, file.symbol, file.hour) for file in joined if file.kind in COUNTED}
        self._wake.set()

    async def run(self) -> None:
        """Feed InfluxDB until cancelled."""
        try:
            while True:
                try:
                    await self._turn()
                    self.fault = ""
                except (Retry, Misconfigured) as fault:
                    self.counts.failures += 1
                    self._away(fault)
                    await asyncio.sleep(self._pause_s)
                    continue
                await self._wake.wait()
        finally:
            await self._client.close()

    async def _turn(self) -> None:
        """Send queued parts, check completed hours and refill incomplete ones."""
        if not self._checked:
            await self._compare()
            self._checked = True
        self._wake.clear()
        while self._queue:
            file = self._queue[0]
            hour = (file.kind, file.symbol, file.hour)
            if hour not in self._missing:
                try:
                    frame = await asyncio.to_thread(file.read)
                except AlphaError:
                    # merged or deleted meanwhile: check the whole hour
                    self._over.add(hour)
                else:
                    await self._send(file.kind, file.symbol, frame)
            self._queue.popleft()
        for hour in sorted(self._over, key=lambda one: one[2]):
            if await self._count(hour) != await asyncio.to_thread(self._stored, hour):
                self._missing.add(hour)
            self._over.discard(hour)
        for hour in sorted(self._missing, key=lambda one: one[2]):
            await self._refill(hour)

    def _away(self, fault: AlphaError) -> None:
        if str(fault) != self.fault:
            log.warning("influx_away", why=str(fault))
        self.fault = str(fault)
        # queued parts are sent again hour by hour
        self._missing |= {(file.kind, file.symbol, file.hour) for file in self._queue}
        self._queue.clear()
        level = Level.WARNING
        self._alerts.note("ticks:influx", lambda _, __: Alert(
            level, "ticks:influx", f"InfluxDB does not accept ticks: {fault}",
            "The files are not affected; what is missing is sent when it is back."))  # fmt: skip

    async def _refill(self, hour: Hour) -> None:
        kind, symbol, number = hour
        frame = await asyncio.to_thread(read_hour, self._store, kind, symbol, number)
        refused = 0 if frame is None else await self._send(kind, symbol, frame)
        self.counts.refilled += 1
        stored, there = 0 if frame is None else len(frame), await self._count(hour)
        if there >= stored - refused:
            self._missing.discard(hour)
            self._tries.pop(hour, None)
            return
        self._tries[hour] = self._tries.get(hour, 0) + 1
        if self._tries[hour] < TRIES:
            raise Retry(f"InfluxDB has {there} of {stored} {kind} of {symbol} in an hour that was sent whole.")
        self._missing.discard(hour)
        self._alerts.note("ticks:influx-count", lambda _, __: Alert(
            Level.WARNING, "ticks:influx-count", f"InfluxDB keeps {there} of {stored} {kind} of {symbol} of one hour.",
            "Check its retention policy, and restart the recorder to compare again."))  # fmt: skip

    async def _send(self, kind: Kind, symbol: str, frame: pl.DataFrame) -> int:
        """Send rows; returns how many lines were permanently refused."""
        refused = 0
        for begin in range(0, len(frame), LINES_AT_ONCE):
            lines = await asyncio.to_thread(to_lines, kind, symbol, frame.slice(begin, LINES_AT_ONCE))
            found = await write_lines(self._client, lines)
            refused += len(found)
            for line, fault in found.bad:
                self._reject(line, fault)
            if found.example is not None:
                self._beyond_retention(found.beyond_retention, *found.example)
            self.counts.rows += len(lines) - len(found)
            self.counts.rejected += len(found.bad)
        return refused

    def _beyond_retention(self, count: int, line: str, fault: str) -> None:
        """Count points that are too old, and say it once: InfluxDB is set so, and each would be refused again."""
        if not self.counts.beyond_retention:
            self._reject(line, fault)
            self._alerts.note("ticks:influx-retention", lambda _, __: Alert(
                Level.WARNING, "ticks:influx-retention",
                f"InfluxDB keeps ticks for a shorter time than the files: it leaves out the older ones ({fault}).",
                "Nothing is missing in the files. To have them in InfluxDB, too, lengthen its retention policy and restart "
                "the recorder; ticks_influx_beyond_retention_total counts them."))  # fmt: skip
        self.counts.beyond_retention += count

    async def _count(self, hour: Hour) -> int:
        kind, symbol, number = hour
        begin_ns = number * HOUR_MS * 1_000_000
        where = f"AND time >= {begin_ns} AND time < {begin_ns + HOUR_MS * 1_000_000}"
        series = await self._client.query(f"{_select(kind, symbol)} {where}")
        return int(series[0]["values"][0][1]) if series else 0

    def _stored(self, hour: Hour) -> int:
        frame = read_hour(self._store, *hour)
        return 0 if frame is None else len(frame)

    async def _compare(self) -> None:
        """Note every hour of the last days that is incomplete in InfluxDB."""
        await self._client.check()
        began_s = time.monotonic()
        for kind in COUNTED:
            for symbol in self._store.symbols(kind):
                newest = self._store.newest_hour(kind, symbol)
                if newest is None:
                    continue
                first = newest - 24 * self._check_days
                hours = await asyncio.to_thread(self._rows_by_hour, kind, symbol, first)
                there = await self._counts(kind, symbol, first, newest)
                self._missing |= {(kind, symbol, hour) for hour, rows in hours.items() if there.get(hour, 0) < rows}
        log.info("influx_compared", missing_hours=len(self._missing), seconds=round(time.monotonic() - began_s, 1))

    def _rows_by_hour(self, kind: Kind, symbol: str, first: int) -> dict[int, int]:
        found: dict[int, int] = {}
        for file in self._store.files(kind, symbol, first):
            try:
                rows = pl.scan_parquet(file.path).select(pl.len()).collect().item()
            except (OSError, pl.exceptions.PolarsError):
                continue
            found[file.hour] = found.get(file.hour, 0) + rows
        return found

    async def _counts(self, kind: Kind, symbol: str, first: int, last: int) -> dict[int, int]:
        where = f"AND time >= {first * HOUR_MS}ms AND time < {(last + 1) * HOUR_MS}ms GROUP BY time(1h) fill(none)"
        series = await self._client.query(f"{_select(kind, symbol)} {where}")
        return {hour_of(row[0]): int(row[1]) for one in series for row in one["values"]}


def _select(kind: Kind, symbol: str) -> str:
    """The query that counts points. Symbols were confirmed by the exchange: letters and digits only."""
    return f'SELECT COUNT("{COUNTED[kind]}") FROM "{kind}" WHERE "symbol" = \'{symbol}\''  # noqa: S608


async def write_lines(client: InfluxClient, lines: list[str]) -> Refused:
    """Send lines, bisecting a partly refused request down to what is refused, which is returned.

    Raises Misconfigured if so many are refused that the rows cannot be at fault, Retry while InfluxDB is unavailable.
    """
    refused = Refused()
    waiting = [lines]
    while waiting:
        some = waiting.pop()
        if not some:
            continue
        try:
            await client.write("\n".join(some).encode())
        except LinesRefused as fault:
            # fewer than all: this answer also hides a bad line among them
            if fault.beyond_retention == len(some):
                refused.beyond_retention += len(some)
                refused.example = refused.example or (some[0], str(fault))
                continue
            if len(some) == 1:
                refused.bad.append((some[0], str(fault)))
                if len(refused.bad) > MOST_REFUSED:
                    raise Misconfigured(
                        f"InfluxDB refuses every line ({fault}). Where a field has another type, drop its measurement "
                        f"or choose another INFLUX_DB than {client.database!r}."
                    ) from None
                continue
            middle = len(some) // 2
            waiting += [some[middle:], some[:middle]]
    return refused
