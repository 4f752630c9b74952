"""Turns frames into rows to be stored, on one thread, with no I/O except reading rows that are already stored.

Frames are queued on receipt and decoded in slices, so that the connection is always read. The memory of queued frames and
rows is bounded: beyond it frames are dropped, which is a gap.
"""

import functools
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from alpha.logs import logger
from tick_recorder.columns import Rejection, Row, Rows
from tick_recorder.frames import (
    BookFrame,
    Liquidation,
    Trade,
    TradeFrame,
    Unreadable,
    decode,
    is_time,
    salvage,
    topic_of,
)
from tick_recorder.gaps import Gap, GapBook
from tick_recorder.order_book import Bbo, BookBroken, OrderBook
from tick_recorder.schema import HOUR_MS, Key, Kind
from tick_recorder.sequencer import Sequencer
from tick_recorder.store import TickStore
from tick_recorder.stored import last_row, load_known, open_gaps

log = logger(__name__)
#: Memory of a row besides its text, in bytes; measured with tracemalloc.
_ROW_BYTES = 600
_FRAME_BYTES = 100


@dataclass(slots=True)
class Series:
    """The state of one kind and symbol."""

    kind: Kind
    symbol: str
    sequencer: Sequencer
    last_ms: int | None
    last_update: int | None = None
    book: OrderBook = field(default_factory=OrderBook.new)
    sampled_ms: int = 0
    #: The hour whose file already begins with a snapshot.
    begun_hour: int = -1
    #: Where the rows of an hour go, in the batch that is being gathered.
    rows_hour: int = -1
    owner: int = 0


@dataclass(slots=True)
class Batch:
    """Rows that are being stored. They leave `rows` as they become columns."""

    rows: dict[Kind, Rows]
    generations: list[tuple[Sequencer, int]]
    size: int


@dataclass(slots=True)
class Counts:
    """Counters since startup, for metrics."""

    frames: int = 0
    rows: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    repeats: int = 0
    dropped_frames: int = 0
    rejected: int = 0
    decode_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RecorderLimits:
    """Order book levels, its sampling interval, and the memory limit of waiting data."""

    depth: int
    depth_every_ms: int
    buffer_bytes: int


@dataclass(frozen=True, slots=True)
class RecorderHooks:
    """`reject` is called for malformed rows; `renew(topic)` requests a new snapshot, `backfill(symbol)` the trades missed
    in an interruption."""

    reject: Callable[[Rejection], None]
    renew: Callable[[str], None]
    backfill: Callable[[str], None]


class Recorder:
    """Takes frames and produces batches of rows."""

    def __init__(
        self,
        store: TickStore,
        streams: Sequence[Kind],
        limits: RecorderLimits,
        hooks: RecorderHooks,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        self.counts = Counts()
        self.newest_ms = 0
        self.gaps = GapBook(self._record_gap, now_us)
        self.gaps.restore(open_gaps(store))
        self._store = store
        self._streams = tuple(streams)
        self._depth = limits.depth
        self._depth_every_ms = limits.depth_every_ms
        self._most_bytes = limits.buffer_bytes
        self._reject = hooks.reject
        self._renew = hooks.renew
        self._backfill = hooks.backfill
        self._now_us = now_us
        self._series: dict[str, Series] = {}
        self._symbols: set[str] = set()
        self._pending: deque[tuple[bytes, int]] = deque()
        self._dropping: set[str] = set()
        self._faults_logged: set[type[Exception]] = set()
        self._rows = {kind: Rows(kind) for kind in Kind}
        self._held: dict[str, list[Trade]] = {}
        self._pending_bytes = 0
        self._row_bytes = 0
        self._held_bytes = 0
        self._batch_bytes = 0

    # -- what is recorded ---------------------------------------------------------------------------------------

    @property
    def topics(self) -> set[str]:
        """The topics to subscribe to."""
        return set(self._series)

    @property
    def symbols(self) -> set[str]:
        """The recorded symbols."""
        return set(self._symbols)

    @property
    def buffered_bytes(self) -> int:
        """Estimated memory of waiting frames and rows."""
        return self._pending_bytes + self._held_bytes + self._row_bytes + self._batch_bytes

    @property
    def pending(self) -> int:
        """The number of frames waiting to be decoded."""
        return len(self._pending)

    def follow(self, symbols: Iterable[str]) -> None:
        """Record exactly these symbols from now on. A symbol with stored rows begins with a gap."""
        wanted = set(symbols)
        for symbol in sorted(self._symbols - wanted):
            for kind in self._streams:
                series = self._series.pop(topic_of(kind, symbol, self._depth))
                self._interrupted(series, "the symbol was no longer recorded")
            self._held_bytes -= len(self._held.pop(symbol, ())) * _ROW_BYTES
        for symbol in sorted(wanted - self._symbols):
            for kind in self._streams:
                found = last_row(self._store, kind, symbol)
                newest_ms, newest_update = found if found is not None else (None, None)
                load = functools.partial(load_known, self._store, kind, symbol)
                series = Series(kind, symbol, Sequencer(load, newest_ms), newest_ms, newest_update)
                self._series[topic_of(kind, symbol, self._depth)] = series
                self._interrupted(series, "the recorder was not running")
        self._symbols = wanted

    def interrupted(self, reason: str) -> None:
        """The connection was lost: open a gap in every series, until it is proved that nothing is missing."""
        self.decode_all()
        for series in self._series.values():
            self._interrupted(series, reason)

    def confirmed(self, topics: Iterable[str]) -> None:
        """The exchange has confirmed these subscriptions: gaps of liquidations, which cannot be backfilled, end."""
        for topic in topics:
            series = self._series.get(topic)
            if series is not None and series.kind is Kind.LIQUIDATIONS and self.newest_ms:
                self.gaps.close(series.kind, series.symbol, self.newest_ms, missing=True)

    def _interrupted(self, series: Series, reason: str) -> None:
        series.book.lose()
        if series.last_ms is None:
            return
        self.gaps.open(series.kind, series.symbol, series.last_ms, reason)
        # hold back trades until the missed ones before them are known
        if series.kind is Kind.TRADES and series.symbol not in self._held:
            self._held[series.symbol] = []
            self._backfill(series.symbol)

    # -- in -----------------------------------------------------------------------------------------------------

    def received(self, frame: bytes) -> None:
        """Queue a data frame for decoding."""
        size = len(frame) + _FRAME_BYTES
        if self.buffered_bytes + size > self._most_bytes:
            self.counts.dropped_frames += 1
            topic = _topic(frame)
            if topic not in self._dropping:
                self._dropping.add(topic)
                # queued in order among the frames, so that the gap begins at the right place
                self._pending.append((topic.encode(), -1))
            return
        if self._dropping:
            self._dropping.discard(_topic(frame))
        self._pending_bytes += size
        self._pending.append((frame, self._now_us()))

    def decode_some(self, limit_s: float) -> bool:
        """Decode queued frames for about `limit_s` seconds; True if some are left."""
        began, began_cpu = time.perf_counter(), time.thread_time()
        pending = self._pending
        while pending:
            for _ in range(min(64, len(pending))):
                frame, received_us = pending.popleft()
                if received_us < 0:
                    self._lost(frame.decode(), "the buffer was full")
                    continue
                self._pending_bytes -= len(frame) + _FRAME_BYTES
                try:
                    self._decode(frame, received_us)
                except Exception as fault:  # noqa: BLE001 - logged there, once per kind
                    self._failed(frame, fault)
            if time.perf_counter() - began > limit_s:
                break
        self.counts.decode_s += time.thread_time() - began_cpu
        return bool(pending)

    def decode_all(self) -> None:
        """Decode all queued frames."""
        self.decode_some(float("inf"))

    def _failed(self, frame: bytes, fault: Exception) -> None:
        """Reject a frame that caused an internal error and open a gap: it must not stop the recording of other symbols."""
        if type(fault) not in self._faults_logged:
            self._faults_logged.add(type(fault))
            log.exception("decoder_fault", topic=_topic(frame))
        self._refuse(f"Internal error: {type(fault).__name__}: {fault}", frame.decode("utf-8", "backslashreplace"))
        self._lost(_topic(frame), "a frame could not be processed")

    def _lost(self, topic: str, reason: str) -> None:
        """Open a gap: a frame of this topic was lost."""
        series = self._series.get(topic)
        if series is None or series.last_ms is None:
            return
        self._interrupted(series, reason)
        if series.kind is Kind.DEPTH:
            self._renew(topic)
        elif series.kind is Kind.LIQUIDATIONS:
            self.gaps.close(series.kind, series.symbol, self.newest_ms, missing=True)

    def _decode(self, frame: bytes, received_us: int) -> None:
        self.counts.frames += 1
        try:
            message = decode(frame)
        except Unreadable as fault:
            self._salvage(frame, received_us, fault)
            return
        if message is None:
            return
        series = self._series.get(message.topic)
        if series is None:
            return
        if isinstance(message, TradeFrame):
            self._trades(series, message.data, received_us)
        elif isinstance(message, BookFrame):
            self._book(series, message, received_us, frame)
        else:
            self._liquidations(series, message.data, received_us)

    def _salvage(self, frame: bytes, received_us: int, fault: Unreadable) -> None:
        series = self._series.get(_topic(frame))
        try:
            rows = list(salvage(frame)) if series is not None else [fault]
        except Unreadable as whole:
            rows = [whole]
        for row in rows:
            if isinstance(row, Unreadable):
                self._refuse(str(row), row.text.decode("utf-8", "backslashreplace"))
            elif series is not None and isinstance(row, Trade):
                self._trades(series, [row], received_us)
            elif series is not None and isinstance(row, Liquidation):
                self._liquidations(series, [row], received_us)
        if series is not None and series.kind is Kind.DEPTH:
            self._broken(series, "a frame could not be read")

    def _refuse(self, fault: str, text: str) -> None:
        self.counts.rejected += 1
        self._reject(Rejection(fault, text))

    def _trades(self, series: Series, rows: list[Trade], received_us: int) -> None:
        for row in rows:
            row.received_us = received_us
        held = self._held.get(series.symbol)
        if held is not None:
            held.extend(rows)
            self._held_bytes += len(rows) * _ROW_BYTES
            return
        self._take_trades(series, rows)

    def _take_trades(self, series: Series, rows: Iterable[Trade]) -> int:
        """Take trades in order; returns the number of duplicates."""
        repeats = 0
        take = series.sequencer.take
        for row in rows:
            if not is_time(row.ts):
                self._refuse(f"A trade of {series.symbol} has an implausible timestamp: {row.ts}.", repr(row))
                continue
            ordinal = take(row.ts, row.id)
            if ordinal is None:
                repeats += 1
                continue
            row.ordinal = ordinal
            self._keep(series, row)
        self.counts.repeats += repeats
        return repeats

    def _book(self, series: Series, message: BookFrame, received_us: int, frame: bytes) -> None:
        ts = message.time_ms
        if not is_time(ts):
            self._refuse(
                f"A frame of {message.topic} has an implausible timestamp: {ts}.", frame.decode("utf-8", "replace")
            )
            return
        if series.kind is Kind.BBO:
            self._bbo(series, message, ts, received_us)
            return
        was_known = series.book.known
        try:
            if not series.book.apply(message):
                return
        except BookBroken:
            self._broken(series, "an update of the order book is missing")
            return
        except ValueError:
            self._refuse(f"A size of {message.topic} is not a number.", frame.decode("utf-8", "replace"))
            self._broken(series, "a frame could not be read")
            return
        if not was_known:
            self._ends(series, message.data.u, ts)
        begins = ts // HOUR_MS != series.begun_hour
        if self._depth_every_ms and not begins and ts - series.sampled_ms < self._depth_every_ms:
            # skipping samples is not a gap: the series is as current as its newest frame
            series.last_ms, series.last_update = max(series.last_ms or 0, ts), message.data.u
            return
        row = series.book.snapshot(ts)
        if not self._depth_every_ms and not begins and message.type != "snapshot":
            row.snapshot, row.bids, row.asks = False, message.data.b, message.data.a
        self._take_book(series, row, received_us)
        series.sampled_ms, series.begun_hour = ts, ts // HOUR_MS

    def _broken(self, series: Series, reason: str) -> None:
        self._interrupted(series, reason)
        self._renew(topic_of(series.kind, series.symbol, self._depth))

    def _bbo(self, series: Series, message: BookFrame, ts: int, received_us: int) -> None:
        data = message.data
        if data.u == series.last_update:
            # resent when idle; after an interruption it proves that nothing was missed
            self._ends(series, data.u, ts)
            return
        self._ends(series, data.u, ts)
        bid, bid_size = data.b[0] if data.b else (None, None)
        ask, ask_size = data.a[0] if data.a else (None, None)
        self._take_book(series, Bbo(ts, bid, bid_size, ask, ask_size, data.u, data.seq), received_us)

    def _ends(self, series: Series, update_id: int, ts: int) -> None:
        """Close the gap of this book, if any, with this update."""
        if self.gaps.find(series.kind, series.symbol) is not None:
            self.gaps.close(series.kind, series.symbol, ts, missing=update_id != series.last_update)

    def _take_book(self, series: Series, row: Row, received_us: int) -> None:
        update_id: int = row.update_id  # type: ignore[union-attr]
        ordinal = series.sequencer.take(row.ts, update_id)
        series.last_update = update_id
        if ordinal is None:
            self.counts.repeats += 1
            return
        row.ordinal, row.received_us = ordinal, received_us  # type: ignore[misc]
        self._keep(series, row)

    def _liquidations(self, series: Series, rows: list[Liquidation], received_us: int) -> None:
        if self.gaps.find(series.kind, series.symbol) is not None and rows:
            self.gaps.close(series.kind, series.symbol, rows[0].ts, missing=True)
        for row in rows:
            if not is_time(row.ts):
                self._refuse(f"A liquidation of {series.symbol} has an implausible timestamp: {row.ts}.", repr(row))
                continue
            # liquidations have no id and are never resent: each is new
            row.received_us, row.ordinal = (
                received_us,
                series.sequencer.take(row.ts, -self.counts.rows[Kind.LIQUIDATIONS] - 1) or 0,
            )
            self._keep(series, row)

    def _keep(self, series: Series, row: Row) -> None:
        ts = row.ts
        hour = ts // HOUR_MS
        if hour != series.rows_hour:
            series.rows_hour = hour
            series.owner = self._rows[series.kind].owner((series.kind, series.symbol, hour))
        self._rows[series.kind].add(row, series.owner)
        self.counts.rows[series.kind] += 1
        self._row_bytes += _ROW_BYTES if series.kind is not Kind.DEPTH else _ROW_BYTES * 20
        if series.last_ms is None or ts > series.last_ms:
            series.last_ms = ts
            if ts > self.newest_ms:
                self.newest_ms = ts

    def _record_gap(self, gap: Gap) -> None:
        gathered = self._rows[Kind.GAPS]
        gathered.add(gap, gathered.owner((Kind.GAPS, gap.symbol, gap.ts // HOUR_MS)))
        self.counts.rows[Kind.GAPS] += 1

    # -- trades missed in an interruption ---------------------------------------------------------------------

    def held(self, symbol: str) -> int:
        """The number of trades of a symbol that are held back."""
        return len(self._held.get(symbol, ()))

    def backfilled(self, symbol: str, rows: Sequence[Trade] | None) -> bool:
        """Take the newest trades from REST, oldest first (None if REST failed), then the ones held back.

        False if this settled nothing: REST returned no trades, and none are held back.
        """
        held = self._held.get(symbol)
        series = self._series.get(topic_of(Kind.TRADES, symbol, self._depth))
        if series is None or held is None:
            return True
        if not rows and not held:
            return False
        del self._held[symbol]
        self._held_bytes -= len(held) * _ROW_BYTES
        gap = self.gaps.find(Kind.TRADES, symbol)
        since_ms = gap.ts if gap is not None else series.last_ms or 0
        missing, until_ms = True, held[0].ts if held else self.newest_ms
        if rows:
            until_ms = rows[0].ts
            held_ids = {row.id for row in held}
            repeats = self._take_trades(series, [row for row in rows if row.ts >= since_ms and row.id not in held_ids])
            # nothing is missing if they reach back to the stored trades
            missing = not repeats and rows[0].ts >= since_ms
        self.gaps.close(Kind.TRADES, symbol, until_ms, missing=missing)
        self._take_trades(series, held)
        return True

    # -- out ----------------------------------------------------------------------------------------------------

    def swap(self) -> Batch:
        """Take everything decoded so far as a batch; later rows go into the next one."""
        generations = [(series.sequencer, series.sequencer.swap()) for series in self._series.values()]
        batch = Batch({kind: rows for kind, rows in self._rows.items() if len(rows)}, generations, self._row_bytes)
        self._batch_bytes += self._row_bytes
        self._rows, self._row_bytes = {kind: Rows(kind) for kind in Kind}, 0
        for series in self._series.values():
            series.rows_hour = -1
        return batch

    def converted(self, batch: Batch) -> None:
        """The rows of a batch are columns now, which with the ids that the sequencer keeps take half of the memory."""
        self._batch_bytes -= batch.size - batch.size // 2
        batch.size //= 2

    def stored(self, batch: Batch) -> None:
        """The batch has been stored."""
        self._batch_bytes -= batch.size
        for sequencer, generation in batch.generations:
            sequencer.stored(generation)


def _topic(frame: bytes) -> str:
    """The topic found in a frame's text; empty if there is none."""
    begin = frame.find(b'"topic":"')
    return frame[begin + 9 : frame.find(b'"', begin + 9)].decode("utf-8", "replace") if begin >= 0 else ""


def in_order(keys: Iterable[Key]) -> list[Key]:
    """The order in which rows are stored: gaps before all else, then by hour."""
    return sorted(keys, key=lambda key: (key[0] is not Kind.GAPS, key[2], key[0], key[1]))
