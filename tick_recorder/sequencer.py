"""Deduplicates rows and numbers those of the same millisecond.

Each id gets its ordinal once. Recent ids are kept in memory; for older rows the stored hour is read, so that a row received
again after a restart, or an hour late, is recognised as a duplicate. Memory is bounded: rows not stored yet plus two buckets
of ten seconds.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from tick_recorder.schema import HOUR_MS

BUCKET_MS = 10_000
_BUCKETS_KEPT = 2
Key = str | int


@dataclass(slots=True)
class Known:
    """The ids of a time span, the next ordinal of each millisecond, and the generation of its newest row."""

    ids: set[Key] = field(default_factory=set)
    next_ordinal: dict[int, int] = field(default_factory=dict)
    generation: int = 0

    def take(self, ts_ms: int, key: Key, generation: int) -> int | None:
        """The ordinal of a new row; None for a duplicate."""
        if key in self.ids:
            return None
        self.ids.add(key)
        ordinal = self.next_ordinal.get(ts_ms, 0)
        self.next_ordinal[ts_ms] = ordinal + 1
        self.generation = generation
        return ordinal


class Sequencer:
    """The sequencer of one kind and symbol. `load(hour)` reads a stored hour; `newest_ms` is the time of the newest stored row."""

    def __init__(self, load: Callable[[int], Known], newest_ms: int | None) -> None:
        self._load = load
        self._buckets: dict[int, Known] = {}
        self._hours: dict[int, Known] = {}
        # rows before this bucket are looked up in the store
        self._floor = 0 if newest_ms is None else newest_ms // BUCKET_MS + 1
        self._first = newest_ms is None
        self._generation = 0

    def take(self, ts_ms: int, key: Key) -> int | None:
        """The ordinal of this row; None for a duplicate."""
        number = ts_ms // BUCKET_MS
        if self._first:
            self._floor, self._first = number, False
        if number >= self._floor:
            known = self._buckets.get(number)
            if known is None:
                known = self._buckets[number] = Known()
        else:
            hour = ts_ms // HOUR_MS
            known = self._hours.get(hour)
            if known is None:
                known = self._hours[hour] = self._load(hour)
        return known.take(ts_ms, key, self._generation)

    def swap(self) -> int:
        """Begin a new generation of rows; returns the number of the previous one, to pass to `stored`."""
        self._generation += 1
        return self._generation - 1

    def stored(self, generation: int) -> None:
        """Rows up to this generation are in the store: forget old ones."""
        if self._buckets:
            newest = max(self._buckets)
            for number in sorted(self._buckets):
                if number > newest - _BUCKETS_KEPT or self._buckets[number].generation > generation:
                    break
                gone = self._buckets.pop(number)
                self._floor = number + 1
                cached = self._hours.get(number * BUCKET_MS // HOUR_MS)
                if cached is not None:
                    cached.ids |= gone.ids
                    cached.next_ordinal |= gone.next_ordinal
        for hour in [hour for hour, known in self._hours.items() if known.generation <= generation]:
            del self._hours[hour]
