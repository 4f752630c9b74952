"""Reference ledger by the simplest method: fill by fill, in Decimals, from scratch. Slow and correct.

`trading.position_summaries`, the daily totals and the exits must equal it exactly.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Context, Decimal, localcontext
from functools import partial
from itertools import groupby

from alpha.model.fill_order import take_next, unit_key
from alpha.postgres.fills import Fill

EXACT = Context(prec=400)
ZERO = Decimal(0)
CHANGES_POSITION = frozenset(
    {
        "Trade",
        "BustTrade",
        "AdlTrade",
        "Delivery",
        "Settle",
        "BlockTrade",
        "MovePosition",
        "FutureSpread",
        "CorporateAction",
    }
)


@dataclass(frozen=True)
class Opening:
    """Holdings of an account before its record starts."""

    side: str
    qty: Decimal
    entry_price: Decimal
    as_of: datetime


@dataclass
class Trip:
    """A round trip from its first fill on; closed once `closed` is set."""

    is_long: bool
    opened: tuple[datetime, int, str]
    from_opening: bool = False
    closed: tuple[datetime, int, str] | None = None
    reversed: bool = False
    exit_reason: str = ""
    fills: int = 0
    entry_qty: Decimal = ZERO
    entry_value: Decimal = ZERO
    exit_value: Decimal = ZERO
    max_qty: Decimal = ZERO
    gross: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO
    maker_value: Decimal = ZERO

    @property
    def net(self) -> Decimal:
        """Gross P&L minus fees plus funding."""
        return self.gross - self.fees + self.funding


@dataclass
class Day:
    """Totals of one UTC day, on a cash basis."""

    fills: int = 0
    volume: Decimal = ZERO
    maker_volume: Decimal = ZERO
    gross: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO


@dataclass
class Exits:
    """Round trips that ended on one day for one reason."""

    nets: list[Decimal] = field(default_factory=list)
    held_ms: int = 0


@dataclass
class Books:
    """The result for one ledger."""

    trips: list[Trip]
    days: dict[date, Day]
    exits: dict[tuple[date, str], Exits]
    held: Decimal
    cost: Decimal
    open_trip: Trip | None


def cut(numerator: Decimal, divisor: Decimal) -> Decimal:
    """numerator / divisor, truncated towards zero after 12 decimals."""
    whole = EXACT.divide_int(EXACT.scaleb(numerator, 12), divisor)
    return EXACT.scaleb(whole, -12)


def books(fills: Iterable[Fill], opening: Opening | None = None) -> Books:
    """Process the fills of one ledger in order."""
    with localcontext(EXACT):
        return _books(fills, opening)


def _closes(trip: Trip | None, held: Decimal, fill: Fill) -> Decimal | None:
    """How much of the position the fill would close."""
    if fill.exec_type not in CHANGES_POSITION:
        return None
    return ZERO if trip is None or (fill.side == "Buy") == trip.is_long else min(fill.qty, held)


def _books(fills: Iterable[Fill], opening: Opening | None) -> Books:
    trips: list[Trip] = []
    days: dict[date, Day] = defaultdict(Day)
    held, cost = ZERO, ZERO
    trip: Trip | None = None
    if opening is not None:
        held, cost = opening.qty, opening.qty * opening.entry_price
        trip = Trip(
            opening.side == "Buy", (opening.as_of, -1, ""), True, entry_qty=held, entry_value=cost, max_qty=held
        )
    units = groupby(sorted(fills, key=lambda one: (one.exec_time, one.seq)), key=lambda one: (one.exec_time, one.seq))
    unit: list[Fill] = []
    while unit or (unit := sorted(next(units, (None, []))[1], key=unit_key)):
        fill = take_next(unit, partial(_closes, trip, held))
        day = days[fill.exec_time.date()]
        if fill.exec_type == "Funding":
            day.funding -= fill.fee
            if trip is not None:
                trip.funding -= fill.fee
        if fill.exec_type not in CHANGES_POSITION or fill.qty == 0:
            continue
        place = (fill.exec_time, fill.seq, fill.exec_id)
        buy = fill.side == "Buy"
        value = fill.price * fill.qty
        day.fills += 1
        day.volume += value
        day.fees += fill.fee
        day.maker_volume += value if fill.is_maker else 0
        left, fee_left = fill.qty, fill.fee
        if trip is not None and buy != trip.is_long:
            closing = min(left, held)
            fee = fill.fee if closing == left else cut(fill.fee * closing, left)
            part = cost if closing == held else cut(cost * closing, held)
            earned = (fill.price * closing - part) * (1 if trip.is_long else -1)
            trip.gross += earned
            day.gross += earned
            trip.exit_value += fill.price * closing
            trip.fees += fee
            trip.fills += 1
            trip.maker_value += fill.price * closing if fill.is_maker else 0
            held, cost, left, fee_left = held - closing, cost - part, left - closing, fee_left - fee
            if held == 0:
                trip.closed, trip.reversed, trip.exit_reason = place, left > 0, fill.reason
                trips.append(trip)
                trip = None
        if left > 0:
            trip = trip or Trip(buy, place)
            held, cost = held + left, cost + fill.price * left
            trip.entry_qty += left
            trip.entry_value += fill.price * left
            trip.max_qty = max(trip.max_qty, held)
            trip.fees += fee_left
            trip.fills += 1
            trip.maker_value += fill.price * left if fill.is_maker else 0
    exits: dict[tuple[date, str], Exits] = defaultdict(Exits)
    for done in trips:
        assert done.closed is not None
        entry = exits[done.closed[0].date(), done.exit_reason]
        entry.nets.append(done.net)
        entry.held_ms += round((done.closed[0] - done.opened[0]).total_seconds() * 1000)
    return Books(trips, dict(days), dict(exits), held, cost, trip)
