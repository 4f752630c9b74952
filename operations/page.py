"""A page: what a command shows, before it is laid out for a phone, a terminal or a browser.

Cells are texts with a tone; columns say which side they lean to and whether a phone has room for them.
"""

from dataclasses import dataclass
from datetime import UTC, tzinfo
from enum import StrEnum


class Tone(StrEnum):
    """How a text feels; each presenter has its own colours or marks."""

    PLAIN = "plain"
    GOOD = "good"
    BAD = "bad"
    WARN = "warn"
    DIM = "dim"


@dataclass(frozen=True, slots=True)
class Cell:
    """One text with its tone. `mark` is a shorter text for narrow presenters; `short` one for a table that is still too
    wide there, used by a whole column or not at all.
    """

    text: str
    tone: Tone = Tone.PLAIN
    mark: str = ""
    short: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, whether its texts lean right, whether a phone shows it, and its title there where shorter."""

    title: str
    right: bool = False
    phone: bool = True
    brief: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns; `empty` is said when there are none. Where `narrow` is given, a phone shows it instead: lines of
    a text on the left and one on the right.
    """

    columns: tuple[Column, ...]
    rows: list[list[Cell]]
    empty: str = "Nothing."
    title: str = ""
    narrow: list[tuple[str, str]] | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values, a line each."""

    rows: list[tuple[str, Cell]]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """A paragraph. `mark` is the sign before it on a phone; None for that of its tone, empty for none."""

    text: str
    tone: Tone = Tone.PLAIN
    mark: str | None = None


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Output of a program, line for line."""

    text: str


Block = Table | Facts | Words | Verbatim


@dataclass(frozen=True, slots=True)
class Curve:
    """A picture to draw: equity (USDT) and drawdown (per cent, zero or below) over time (ms since 1970 UTC), whose
    marks are times of `zone`. `return_pct` is the return of the same time where it is known better than by its ends:
    without transfers.
    """

    title: str
    times_ms: list[int]
    equity: list[float]
    drawdown_pct: list[float]
    zone: tzinfo = UTC
    return_pct: float | None = None


@dataclass(frozen=True, slots=True)
class BarChart:
    """A picture to draw: one signed bar a label, in USDT."""

    title: str
    labels: list[str]
    values: list[float]


Picture = Curve | BarChart


@dataclass(frozen=True, slots=True)
class Page:
    """What one command shows. `data` holds the typed rows behind it, for JSON."""

    title: str
    blocks: list[Block]
    data: object = None
    picture: Picture | None = None
