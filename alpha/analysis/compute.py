"""The values, votes and ratings of the newest candles."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alpha.analysis.catalogue import Group
from alpha.analysis.definition import Definition
from alpha.analysis.rating import combined, share
from alpha.indicators import Floats
from alpha.timeframes import Columns, from_place


@dataclass(frozen=True, slots=True)
class Analysis:
    """What is said of one closed candle. `values` are in the order of `Definition.names`, None where history is missing.

    `votes` has one per indicator: 1 buy, -1 sell, 0 neutral, None where it has none. `closed_ms` is the candle's end (UTC).
    """

    closed_ms: int
    close: float
    values: tuple[float | None, ...]
    votes: tuple[int | None, ...]
    averages: float | None
    oscillators: float | None

    @property
    def rating(self) -> float | None:
        """The mean of both halves, -1 to 1; None without any vote."""
        return combined((self.averages, self.oscillators))


def consecutive_tail(candles: Columns, interval_ms: int) -> Columns:
    """The candles after the last hole: nothing is computed across one."""
    holes = np.flatnonzero(np.diff(candles.start_ms) != interval_ms)
    return from_place(candles, int(holes[-1]) + 1) if len(holes) else candles


def analyse(candles: Columns, interval_ms: int, definition: Definition, last: int = 1) -> list[Analysis]:
    """The analyses of the `last` newest candles (fewer where there are fewer), oldest first.

    `candles` are consecutive and closed; each indicator sees only as many of them as it needs.
    """
    return analyse_together([candles], interval_ms, definition, last)[0]


def analyse_together(
    windows: Sequence[Columns], interval_ms: int, definition: Definition, last: int = 1
) -> list[list[Analysis]]:
    """`analyse` for several symbols: those whose candles cover the same time share each step, with the bits of one alone."""
    most = max(indicator.history(interval_ms) for indicator in definition.indicators) + last - 1
    shapes: dict[tuple[int, int], list[int]] = {}
    needed = [from_place(candles, -most) for candles in windows]
    for place, candles in enumerate(needed):
        if len(candles.start_ms):
            shapes.setdefault((int(candles.start_ms[0]), len(candles.start_ms)), []).append(place)
    found: list[list[Analysis]] = [[] for _ in windows]
    for places in shapes.values():
        starts, *prices = needed[places[0]]
        if len(places) > 1:
            prices = [np.array([needed[place][column] for place in places]) for column in range(1, len(prices) + 1)]
        rows = _analyse(Columns(starts, *prices), interval_ms, definition, min(last, len(starts)))
        for place, analyses in zip(places, rows, strict=True):
            found[place] = analyses
    return found


def _analyse(candles: Columns, interval_ms: int, definition: Definition, last: int) -> list[list[Analysis]]:
    """The analyses of each symbol; `candles` have one row per symbol, or no such axis for a single one."""
    columns: list[Floats] = []
    votes: list[Floats | None] = []
    for indicator in definition.indicators:
        seen = from_place(candles, -(indicator.history(interval_ms) + last - 1))
        found = indicator.kind.compute(seen, interval_ms, indicator.parameters)
        columns += [values[..., -last:] for values in found]
        vote = indicator.kind.vote
        if vote is None:
            votes.append(None)
            continue
        # a vote looks at a candle and the one before it
        newest = tuple(values[..., -last - 1 :] for values in found)
        votes.append(vote(from_place(seen, -last - 1), newest, indicator.parameters)[..., -last:])
    ends = (candles.start_ms[-last:] + interval_ms).tolist()
    symbols = candles.close.size // candles.close.shape[-1]
    # -0.0 becomes 0.0: PostgreSQL keeps the sign of a zero, Decimal and people do not
    values = (np.array(columns).reshape(len(columns), symbols, last) + 0.0).transpose(1, 2, 0).tolist()
    closes = candles.close.reshape(symbols, -1)[:, -last:].tolist()
    groups = [indicator.kind.group for indicator in definition.indicators]
    none: list[list[float | None]] = [[None] * last] * symbols
    said = [none if each is None else each.reshape(symbols, last).tolist() for each in votes]
    rows: list[list[Analysis]] = []
    for symbol in range(symbols):
        mine = [each[symbol] for each in said]
        rows.append(
            [
                _one(ends[place], closes[symbol][place], values[symbol][place], [each[place] for each in mine], groups)
                for place in range(last)
            ]
        )
    return rows


def _one(
    closed_ms: int, close: float, values: list[float], votes: Sequence[float | None], groups: list[Group]
) -> Analysis:
    whole = tuple(None if vote is None or vote != vote else int(vote) for vote in votes)
    return Analysis(
        closed_ms=closed_ms,
        close=close,
        values=tuple(None if value != value else value for value in values),
        votes=whole,
        averages=_half(Group.AVERAGES, groups, whole),
        oscillators=_half(Group.OSCILLATORS, groups, whole),
    )


def _half(group: Group, groups: list[Group], votes: Sequence[int | None]) -> float | None:
    return share(vote for vote, of in zip(votes, groups, strict=True) if of is group and vote is not None)
