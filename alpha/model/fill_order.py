"""The canonical order of fills; the SQL counterparts are `trading.fill_rank` and `trading.replay_fills`.

Fills of one ledger (account, category, symbol, leg) with equal time and `seq` come from one match: they form a unit,
which no page, batch or recomputation splits. Bybit gives them random ids, so what closed first follows from
`closed_size`: pure closes, the fill that crosses zero, fills with unknown `closed_size`, pure opens; then by id.
Code that tracks the position takes the first fill that fits it at each step (`take_next`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Protocol, TypeVar

T = TypeVar("T")


class Ranked(Protocol):
    """What an execution and a stored fill have in common."""

    @property
    def exec_id(self) -> str: ...
    @property
    def qty(self) -> Decimal: ...
    @property
    def closed_size(self) -> Decimal | None: ...


R = TypeVar("R", bound=Ranked)


def fill_rank(closed_size: Decimal | None, qty: Decimal) -> int:
    """A fill's rank in its unit: 0 closes only, 1 closes and opens, 2 unknown, 3 opens only."""
    if closed_size is None:
        return 2
    if not closed_size:
        return 3
    return 0 if closed_size == qty else 1


def unit_key(fill: Ranked) -> tuple[int, bytes]:
    """Sort key within a unit. Ids compare bytewise, as in PostgreSQL's collation "C"."""
    return fill_rank(fill.closed_size, fill.qty), fill.exec_id.encode()


def take_next(unit: list[R], closes: Callable[[R], Decimal | None]) -> R:
    """Remove and return the next fill of a unit sorted by `unit_key`: the first that fits, otherwise the first.

    `closes(fill)` is how much of the current position the fill would close; None for a row that does not change it.
    """
    for number, fill in enumerate(unit):
        would_close = closes(fill)
        if fill.closed_size is None or would_close is None or fill.closed_size == would_close:
            return unit.pop(number)
    return unit.pop(0)


def chunks(rows: Sequence[T], size: int, unit: Callable[[T], object]) -> Iterator[Sequence[T]]:
    """Split sorted rows into chunks of about `size`, never within a `unit`; yields nothing for no rows."""
    begin = 0
    while begin < len(rows):
        end = min(begin + size, len(rows))
        while end < len(rows) and unit(rows[end]) == unit(rows[end - 1]):
            end += 1
        yield rows[begin:end]
        begin = end


class Timed(Ranked, Protocol):
    """A row of Bybit's `execution/list`."""

    @property
    def symbol(self) -> str: ...
    @property
    def exec_time_ms(self) -> int: ...
    @property
    def seq(self) -> int | None: ...


E = TypeVar("E", bound=Timed)


def oldest_first(rows: Iterable[E]) -> list[E]:
    """Bybit's executions in canonical order, without duplicates."""
    unique = {(row.symbol, row.exec_id): row for row in rows}
    return sorted(unique.values(), key=lambda row: (row.exec_time_ms, row.seq or 0, unit_key(row)))
