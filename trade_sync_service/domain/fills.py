"""Compares fills with `execution/list`: every execution must be recorded exactly once, with equal figures."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from alpha.model.coin import fee_coin, settle_coin
from alpha.model.execution import CORPORATE_ACTION, SIZE_CHANGING, Execution
from alpha.model.fill_reason import is_by_hand
from alpha.model.leg import BOTH, hedge_leg, slot_of
from alpha.model.side import BUY
from trade_sync_service.domain.difference import Difference, Kind, moment, side
from trade_sync_service.settings import DAY_MS

ZERO = Decimal(0)
Key = tuple[str, str]
#: A coin, and a UTC day as its number since 1970.
CoinDay = tuple[str, int]


class OurFill(NamedTuple):
    """A row of trading.fills, limited to what the exchange reports. Empty strings stand for null."""

    symbol: str
    exec_id: str
    order_id: str
    order_link_id: str
    side: str
    exec_type: str
    price: Decimal
    qty: Decimal
    value: Decimal
    fee: Decimal
    closed_size: Decimal | None
    is_maker: bool
    exec_ms: int
    leg: str = BOTH

    @property
    def key(self) -> Key:
        """The identity of the execution."""
        return self.symbol, self.exec_id


class ClosingFill(NamedTuple):
    """How much of a position one execution closed, and for which order."""

    order_id: str
    symbol: str
    exec_ms: int
    closed_size: Decimal


class FillBooks(NamedTuple):
    """The result of one window's comparison.

    `position_error` is our position's error caused by the differences, per slot (ours minus theirs);
    `first_error_ms` is the time of the earliest, per symbol; `fees` and `funding` are the exchange's sums per coin and UTC day
    (day number), funding positive when received; `by_hand` are manual orders, created neither by a bot nor by the exchange.
    """

    differences: list[Difference]
    position_error: dict[str, Decimal]
    first_error_ms: dict[str, int]
    closes: list[ClosingFill]
    fees: dict[CoinDay, Decimal]
    funding: dict[CoinDay, Decimal]
    by_hand: set[str]


def as_ours(execution: Execution, *, hedged: bool = False) -> OurFill:
    """The row we should have recorded for an execution; the leg is "" where its own fields do not tell it."""
    funding = execution.exec_type == "Funding"
    told = hedge_leg(execution.side, execution.closed_size, funding=funding) if hedged else BOTH
    return OurFill(
        symbol=execution.symbol,
        exec_id=execution.exec_id,
        order_id=execution.order_id,
        order_link_id=execution.order_link_id,
        side=execution.side,
        exec_type=execution.exec_type,
        price=execution.price,
        qty=execution.qty,
        value=execution.value,
        fee=execution.fee,
        closed_size=execution.closed_size,
        is_maker=execution.is_maker,
        exec_ms=execution.exec_time_ms,
        leg=told or "",
    )


def compare_fills(
    ours: Mapping[Key, OurFill],
    theirs: Iterable[Execution],
    record_begins_ms: int | None,
    hedged: frozenset[str] = frozenset(),
) -> FillBooks:
    """Compare one window. `record_begins_ms` explains anything older; None (no record) explains nothing.

    `hedged` are the symbols that were traded in hedge mode: there each execution has a leg.
    """
    found = FillBooks(
        [], defaultdict(lambda: ZERO), {}, [], defaultdict(lambda: ZERO), defaultdict(lambda: ZERO), set()
    )
    seen: set[Key] = set()
    for execution in theirs:
        wanted = as_ours(execution, hedged=execution.symbol in hedged)
        if wanted.key in seen:
            continue
        seen.add(wanted.key)
        _add_to_sums(found, execution)
        have = ours.get(wanted.key)
        if have is None:
            _note(found, Kind.MISSING_FILL, None, wanted, _why_missing(wanted, record_begins_ms))
        elif different := _fields_that_differ(have, wanted):
            _note(found, Kind.FILL_DIFFERS, have, wanted, None, different)
    for key, have in ours.items():
        if key not in seen:
            _note(found, Kind.EXTRA_FILL, have, None, None)
    return found


def signed(fill: OurFill) -> Decimal:
    """The signed quantity a fill adds to the position; zero for executions that do not change it."""
    if fill.exec_type not in SIZE_CHANGING or fill.exec_type == CORPORATE_ACTION:
        return ZERO
    return fill.qty if fill.side == BUY else -fill.qty


def _add_to_sums(found: FillBooks, execution: Execution) -> None:
    if is_by_hand(execution.exec_type, execution.create_type, execution.stop_order_type, execution.order_link_id):
        found.by_hand.add(execution.order_id)
    day = execution.exec_time_ms // DAY_MS
    if execution.exec_type == "Funding":
        found.funding[settle_coin(execution.symbol), day] -= execution.fee
    else:
        found.fees[fee_coin(execution.symbol, execution.fee_currency), day] += execution.fee
    if execution.changes_size and execution.closed_size:
        found.closes.append(
            ClosingFill(execution.order_id, execution.symbol, execution.exec_time_ms, execution.closed_size)
        )


def _fields_that_differ(have: OurFill, wanted: OurFill) -> tuple[str, ...]:
    names = []
    for name, ours, theirs in zip(OurFill._fields, have, wanted, strict=True):
        if name == "closed_size" and (ours is None or theirs is None):
            continue  # an unknown value is not a difference
        if name == "leg" and "" in (ours, theirs):
            continue
        if ours != theirs:
            names.append(name)
    return tuple(names)


def _note(
    found: FillBooks,
    kind: Kind,
    have: OurFill | None,
    wanted: OurFill | None,
    explanation: str | None,
    fields: tuple[str, ...] = (),
) -> None:
    one = have or wanted
    if one is None:
        raise ValueError("a difference has at least one side")
    if have is not None:
        found.position_error[slot_of(have.symbol, have.leg or BOTH)] += signed(have)
    if wanted is not None:
        leg = wanted.leg or (have.leg if have is not None else BOTH)
        found.position_error[slot_of(wanted.symbol, leg)] -= signed(wanted)
    found.first_error_ms[one.symbol] = min(
        one.exec_ms, found.first_error_ms.get(one.symbol, one.exec_ms), wanted.exec_ms if wanted else one.exec_ms
    )
    names = fields or OurFill._fields
    found.differences.append(
        Difference(
            kind,
            f"{one.symbol}:{one.exec_id}",
            one.symbol,
            one.exec_ms if wanted is None else wanted.exec_ms,
            None if have is None else _shown(have, names),
            None if wanted is None else _shown(wanted, names),
            explanation,
        )
    )


def _shown(fill: OurFill, names: Iterable[str]) -> dict[str, str | None]:
    values: dict[str, object] = {name: getattr(fill, name) for name in names}
    if "exec_ms" in values:
        values["exec_time"] = moment(fill.exec_ms)
        del values["exec_ms"]
    return side(**values)


def _why_missing(wanted: OurFill, record_begins_ms: int | None) -> str | None:
    if record_begins_ms is not None and wanted.exec_ms < record_begins_ms:
        return "It happened before our record of this account begins."
    return None
