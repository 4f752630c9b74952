"""The values, votes and ratings of the newest candles."""

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
    last = min(last, len(candles.start_ms))
    if last < 1:
        return []
    columns: list[Floats] = []
    votes: list[Floats | None] = []
    for indicator in definition.indicators:
        seen = from_place(candles, -(indicator.history(interval_ms) + last - 1))
        found = indicator.kind.compute(seen, interval_ms, indicator.parameters)
        columns += [values[-last:] for values in found]
        vote = indicator.kind.vote
        if vote is None:
            votes.append(None)
            continue
        # a vote looks at a candle and the one before it
        newest = tuple(values[-last - 1 :] for values in found)
        votes.append(vote(from_place(seen, -last - 1), newest, indicator.parameters)[-last:])
    # -0.0 becomes 0.0: PostgreSQL keeps the sign of a zero, Decimal and people do not
    rows = (np.array(columns) + 0.0).T.tolist()
    groups = [indicator.kind.group for indicator in definition.indicators]
    ends = (candles.start_ms[-last:] + interval_ms).tolist()
    closes = candles.close[-last:].tolist()
    said = [[None] * last if each is None else [_vote(value) for value in each.tolist()] for each in votes]
    return [
        Analysis(
            closed_ms=ends[place],
            close=closes[place],
            values=tuple(None if value != value else value for value in rows[place]),
            votes=tuple(each[place] for each in said),
            averages=_half(Group.AVERAGES, groups, [each[place] for each in said]),
            oscillators=_half(Group.OSCILLATORS, groups, [each[place] for each in said]),
        )
        for place in range(last)
    ]


def _half(group: Group, groups: list[Group], votes: list[int | None]) -> float | None:
    return share(vote for vote, of in zip(votes, groups, strict=True) if of is group and vote is not None)


def _vote(value: float) -> int | None:
    return None if value != value else int(value)
