"""A page: what a command shows, independent of phone, terminal or browser layout.

Cells are texts with a tone; columns define their alignment and whether a phone has room for them.
"""

from dataclasses import dataclass
from datetime import UTC, tzinfo
from enum import StrEnum


class Tone(StrEnum):
    """The meaning of a text; each presenter has its own colours or marks."""

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
    """One column: its title, whether it is right-aligned, whether a phone shows it, and a shorter title for a phone."""

    title: str
    right: bool = False
    phone: bool = True
    brief: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns; `empty` is shown if there are none.

    If `narrow` is given, a phone shows it instead: lines with a text on the left and one on the right.
    """

    columns: tuple[Column, ...]
    rows: list[list[Cell]]
    empty: str = "Nothing."
    title: str = ""
    narrow: list[tuple[str, str]] | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values, one per line."""

    rows: list[tuple[str, Cell]]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """A paragraph. `mark` is its sign on a phone: None for that of its tone, empty for none."""

    text: str
    tone: Tone = Tone.PLAIN
    mark: str | None = None


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Output of a program, verbatim."""

    text: str


Block = Table | Facts | Words | Verbatim


@dataclass(frozen=True, slots=True)
class Curve:
    """A chart of equity (USDT) and drawdown (per cent, zero or below) over time (ms since 1970 UTC); labels in `zone`.

    `return_pct` is the return over the same time, excluding transfers, if known better than from the end points.
    """

    title: str
    times_ms: list[int]
    equity: list[float]
    drawdown_pct: list[float]
    zone: tzinfo = UTC
    return_pct: float | None = None


@dataclass(frozen=True, slots=True)
class BarChart:
    """A bar chart: one signed bar per label, in USDT."""

    title: str
    labels: list[str]
    values: list[float]


@dataclass(frozen=True, slots=True)
class Gauges:
    """A signed bar from -1 to 1 per label; None where there is no value."""

    title: str
    labels: list[str]
    values: list[float | None]


@dataclass(frozen=True, slots=True)
class Candles:
    """Candles of a symbol, with levels and fills in them; times are seconds since 1970 UTC, labels in `zone`.

    `rows` are (second, open, high, low, close), oldest first, each `length_s` long; `levels` are (entry, stop, target or liq,
    price); `fills` are (second, price, whether bought).
    """

    symbol: str
    interval: str
    length_s: int
    rows: list[tuple[int, float, float, float, float]]
    levels: list[tuple[str, float]]
    fills: list[tuple[int, float, bool]]
    zone: tzinfo = UTC


Picture = Curve | BarChart | Gauges | Candles


@dataclass(frozen=True, slots=True)
class Page:
    """What one command shows. `data` holds its typed rows, for JSON."""

    title: str
    blocks: list[Block]
    data: object = None
    picture: Picture | None = None
