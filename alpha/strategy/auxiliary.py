"""What a strategy sees beside the candles of its symbol: other symbols' candles, funding, open interest, columns of files.

A row of a column has the time it is about and a delay after which it is known. At the end of a bar the newest row that is
known by then counts, live and in a back-test alike; there is no row of a later one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from alpha.strategy.bars import Bars

MINUTE_MS = 60_000
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True, slots=True)
class Column:
    """A column that a strategy names: `delay_ms` after its time a row is known.

    At a bar that ends more than `max_age_ms` after the newest known row's time the column has no value (NaN); None: any age.
    `per_symbol`: each symbol has rows of its own; otherwise all share them.
    """

    name: str
    delay_ms: int
    max_age_ms: int | None = None
    per_symbol: bool = True

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"a column's name must be 1 to 40 of a-z, 0-9 and _, got {self.name!r}")
        if self.delay_ms < 0:
            raise ValueError(f"the delay of the column {self.name} must not be below zero, got {self.delay_ms} ms")
        if self.max_age_ms is not None and self.max_age_ms <= 0:
            raise ValueError(f"the largest age of the column {self.name} must be above zero, got {self.max_age_ms} ms")


#: The rate of each funding, a fraction of the position's value, known a minute after it was charged.
FUNDING_RATE = Column("funding_rate", MINUTE_MS)
#: Open interest in base coin, at the exchange's own steps of five minutes and more, known a minute after its time.
OPEN_INTEREST = Column("open_interest", MINUTE_MS)
#: Columns that the exchange gives; every other one is a file of the user's.
OF_EXCHANGE = (FUNDING_RATE.name, OPEN_INTEREST.name)
_STEPS = {"5min": 5, "15min": 15, "30min": 30, "1h": 60, "4h": 240, "1d": 1_440}


def open_interest_step(interval_ms: int) -> tuple[str, int]:
    """The exchange's step of open interest for bars of this length, and its milliseconds: the longest that is no longer."""
    minutes = interval_ms // MINUTE_MS
    name = next((name for name, length in reversed(_STEPS.items()) if length <= minutes), "5min")
    return name, _STEPS[name] * MINUTE_MS


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one column: `time_ms` (UTC, ascending) and `values`.

    `complete_ms`: rows that are known later may be missing here, so that a bar which ends after it has no value.
    """

    time_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    complete_ms: int | None = None

    def at(self, column: Column, end_ms: NDArray[np.int64]) -> NDArray[np.float64]:
        """The value at each of these times; NaN where none is known."""
        places = np.searchsorted(self.time_ms + column.delay_ms, end_ms, side="right") - 1
        known = places >= 0
        if not len(self.time_ms):
            return np.full(len(end_ms), np.nan)
        if column.max_age_ms is not None:
            known &= end_ms - self.time_ms[places] <= column.max_age_ms
        if self.complete_ms is not None:
            known &= end_ms <= self.complete_ms
        return np.where(known, self.values[places], np.nan)

    def known_by(self, column: Column, end_ms: int) -> "Rows":
        """The rows that are known at `end_ms`."""
        count = int(np.searchsorted(self.time_ms + column.delay_ms, end_ms, side="right"))
        return Rows(self.time_ms[:count], self.values[:count], self.complete_ms)


NO_ROWS = Rows(np.empty(0, dtype=np.int64), np.empty(0))


@dataclass(frozen=True, slots=True)
class Auxiliary:
    """What one symbol's bars are shown with: base candles of other symbols, and rows by the column's name."""

    references: "Mapping[str, Bars]" = field(default_factory=dict)
    columns: Mapping[str, Column] = field(default_factory=dict)
    rows: Mapping[str, Rows] = field(default_factory=dict)

    def with_rows(self, rows: Mapping[str, Rows]) -> "Auxiliary":
        """The same with these rows."""
        return replace(self, rows=rows)

    def rows_of(self, name: str) -> Rows:
        """The rows of a column. KeyError for one that the strategy does not name."""
        return self.rows.get(name, NO_ROWS) if name in self.columns else self.rows[name]


def auxiliary_of(strategy: Any, references: "Mapping[str, Bars]", rows: Mapping[str, Rows]) -> Auxiliary | None:
    """What the strategy named, None where it named nothing."""
    if not strategy.references and not strategy.columns:
        return None
    return Auxiliary(references, {column.name: column for column in strategy.columns}, rows)
