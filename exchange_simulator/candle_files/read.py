"""Reads candles: detects the time unit, cuts the requested range and validates the rows."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exchange_simulator.candle_files.table import TIME, VALUES, CandleFault, Floats, Table, read_table

MINUTE_MS = 60_000
#: Upper bounds of plausible prices and volumes; anything above is a typo or another column.
HIGHEST_PRICE = 1e12
HIGHEST_VOLUME = 1e18
#: Smallest timestamp in a unit, the unit's name, and units per millisecond. Anything smaller is in seconds.
_UNITS = ((10**17, "nanoseconds", 10**6), (10**14, "microseconds", 10**3), (10**11, "milliseconds", 1))
_SECONDS_FROM = 10**9
_LAST_MS = 253_402_300_800_000  # the year 10000


@dataclass(frozen=True, slots=True)
class Gap:
    """Missing candles between two existing ones; both starts in UTC milliseconds."""

    before_ms: int
    after_ms: int


@dataclass(frozen=True, slots=True)
class CandleFile:
    """Valid candles of a file within the requested range, oldest first. Prices and volumes by column name."""

    path: Path
    interval_ms: int
    start_ms: NDArray[np.int64]
    gaps: tuple[Gap, ...]
    _table: Table
    _first: int

    def floats(self, name: str) -> Floats:
        """A column as floating-point numbers."""
        return self._table.floats[name][self._first : self._first + len(self.start_ms)]

    def texts(self, name: str) -> list[str]:
        """A column as text, with every digit."""
        return self._table.texts(name)[self._first : self._first + len(self.start_ms)]

    def where(self, place: int) -> str:
        """The file and the line of the candle at `place`."""
        return self._table.where(self._first + place)


def read_candles(path: Path, *, from_ms: int | None = None, to_ms: int | None = None, gaps: bool = False) -> CandleFile:
    """Reads the candles of a file or of a range; gaps are checked only inside the range.

    Candles before `from_ms` are kept as far back as they reach without a gap, for warm-up. With `gaps`, gaps are
    reported in the result instead of rejected. Raises CandleFault with one sentence: file, line, value found, value
    expected.
    """
    table = read_table(path)
    start_ms = _times(table)
    if len(start_ms) < 2:
        raise CandleFault(f"{path} has {len(start_ms)} candles: at least two candles are needed to know their length.")
    interval_ms = _interval(table, start_ms)
    _sound(table)
    first, last = 0, len(start_ms)
    if to_ms is not None:
        last = int(np.searchsorted(start_ms, to_ms))
    if from_ms is not None:
        steps = np.flatnonzero(np.diff(start_ms[:last]) != interval_ms)
        done = steps[start_ms[steps + 1] <= from_ms] if len(steps) else steps
        first = int(done[-1]) + 1 if len(done) else 0
        if first < last and start_ms[last - 1] < from_ms:
            first = last
    cut = start_ms[first:last]
    holes = np.flatnonzero(np.diff(cut) != interval_ms)
    found = tuple(Gap(int(cut[place]), int(cut[place + 1])) for place in holes)
    if found and not gaps:
        missing = (found[0].after_ms - found[0].before_ms) // interval_ms - 1
        more = f" ({len(found)} gaps in all)" if len(found) > 1 else ""
        raise CandleFault(
            f"{table.where(first + int(holes[0]) + 1)}: {missing} candles of {interval_ms // 1000} s are missing after "
            f"{moment(found[0].before_ms)}{more}: take a range without the gap, or download it again."
        )
    return CandleFile(path, interval_ms, cut, found, table, first)


def moment(ms: int) -> str:
    """Formats a UTC time, e.g. 2025-07-02 17:00."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _times(table: Table) -> NDArray[np.int64]:
    """Candle starts in milliseconds, converted from the file's unit."""
    if isinstance(table.times, list):
        try:
            raw = np.array([int(value) for value in table.times], dtype=np.int64)
        except (ValueError, OverflowError):
            raise _no_time(table, table.times) from None
    else:
        raw = table.times
    if not len(raw):
        return raw
    low, high = int(raw.min()), int(raw.max())
    if low < 0:
        raise CandleFault(f"{table.where(int(raw.argmin()))}: the time is negative, found {low}.")
    unit, per_ms = next(((name, number) for least, name, number in _UNITS if high >= least), ("seconds", 0))
    if unit == "seconds" and high < _SECONDS_FROM:
        unit, per_ms = "milliseconds", 1  # a market that starts at the epoch: never recorded data, but common in tests
    if per_ms == 0:
        raw = raw * 1000
    elif per_ms > 1:
        if (raw % per_ms).any():
            place = int((raw % per_ms != 0).argmax())
            raise CandleFault(f"{table.where(place)}: {TIME} is in {unit} and no whole millisecond: {raw[place]}.")
        raw = raw // per_ms
    if int(raw.max()) >= _LAST_MS:
        raise CandleFault(f"{table.where(int(raw.argmax()))}: {TIME} is after the year 9999: {high}.")
    return raw


def _no_time(table: Table, column: list[str]) -> CandleFault:
    for place, value in enumerate(column):
        try:
            fits = abs(int(value)) < 2**63
        except ValueError:
            fits = False
        if not fits:
            found = f"{value.strip()[:40]!r}" if value.strip() else "an empty field"
            return CandleFault(
                f"{table.where(place)}: {TIME} must be whole milliseconds since 1970 (seconds, microseconds and "
                f"nanoseconds are understood as well), found {found}."
            )
    return CandleFault(f"{table.path}: {TIME} cannot be read.")


def _interval(table: Table, start_ms: NDArray[np.int64]) -> int:
    """Candle interval: the shortest step between starts, of which all other steps must be multiples."""
    steps = np.diff(start_ms)
    if len(bad := np.flatnonzero(steps <= 0)):
        place = int(bad[0])
        here, after = moment(int(start_ms[place])), moment(int(start_ms[place + 1]))
        what = f"the time {after} occurs twice" if here == after else f"the time goes back, from {here} to {after}"
        raise CandleFault(f"{table.where(place + 1)}: {what}; candles run oldest first, each once.")
    interval_ms = int(steps.min())
    if interval_ms % MINUTE_MS:
        raise CandleFault(
            f"{table.where(int(steps.argmin()) + 1)}: the candle before starts {interval_ms / 1000:g} s earlier; candles are "
            "whole minutes long."
        )
    if len(bad := np.flatnonzero(start_ms % interval_ms)):
        raise CandleFault(
            f"{table.where(int(bad[0]))}: a candle starts at {moment(int(start_ms[bad[0]]))}, which is no multiple of its "
            f"length of {interval_ms // 1000} s."
        )
    return interval_ms


def _sound(table: Table) -> None:
    columns = table.floats
    faults: list[tuple[int, str, tuple[str, ...]]] = []

    def note(wrong: NDArray[np.bool_], what: str, *names: str) -> None:
        if wrong.any():
            faults.append((int(wrong.argmax()), what, names))

    for name in VALUES:
        note(~np.isfinite(columns[name]), f"{name} must be a number", name)
    opened, high, low, close, volume = (columns[name] for name in VALUES)
    with np.errstate(invalid="ignore"):
        for name in VALUES[:-1]:
            note(columns[name] <= 0, f"{name} is not above zero", name)
            note(columns[name] > HIGHEST_PRICE, f"a price is above {HIGHEST_PRICE:g}", name)
        note(low > opened, "low is above open", "low", "open")
        note(low > close, "low is above close", "low", "close")
        note(high < opened, "high is below open", "high", "open")
        note(high < close, "high is below close", "high", "close")
        note(volume < 0, "volume is negative", "volume")
        note(volume > HIGHEST_VOLUME, f"volume is above {HIGHEST_VOLUME:g}", "volume")
    if faults:
        place, what, names = min(faults, key=lambda fault: fault[0])
        found = " and ".join(f"{table.texts(name)[place][:40]!r}" for name in names)
        raise CandleFault(f"{table.where(place)}: {what}, found {found}.")
