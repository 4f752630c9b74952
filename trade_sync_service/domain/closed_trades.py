"""Compares closed trades with Bybit's closed P&L, with closing executions, and with our round trips."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from alpha.model.execution import CORPORATE_ACTION
from trade_sync_service.domain.corrections import changes
from trade_sync_service.domain.difference import TOLERANCE_USDT, Difference, Kind, moment, side
from trade_sync_service.domain.fills import ClosingFill
from trade_sync_service.domain.trade_rows import Trade

ZERO = Decimal(0)
_WITHOUT_EXECUTION = frozenset({"SessionSettlePnL", CORPORATE_ACTION})


class Trip(NamedTuple):
    """One of our round trips. `net` is gross - fees + funding."""

    symbol: str
    opened_ms: int
    closed_ms: int
    closed_id: str
    is_long: bool
    from_opening: bool
    net: Decimal


def compare_trades(stored: Iterable[Trade], read: Sequence[Trade]) -> list[Difference]:
    """Compare stored trades with Bybit's rows of the same window."""
    found = changes(stored, read)
    return [
        *(trade_difference(Kind.CLOSED_PNL_MISSING, None, trade) for trade in found.new),
        *(trade_difference(Kind.CLOSED_PNL_DIFFERS, before, after) for before, after in found.corrected),
        *(trade_difference(Kind.CLOSED_PNL_EXTRA, trade, None) for trade in found.vanished),
    ]


def compare_closes(
    closes: Iterable[ClosingFill], trades: Iterable[Trade], start_ms: int, end_ms: int
) -> list[Difference]:
    """Check that every closing execution has its closed trade, and every closed trade its executions.

    A session's settlement and a corporate action are booked without an execution.
    """
    trades = [trade for trade in trades if trade.exec_type not in _WITHOUT_EXECUTION]
    executed: dict[str, list[ClosingFill]] = defaultdict(list)
    for close in closes:
        executed[close.order_id].append(close)
    booked: dict[str, Decimal] = defaultdict(lambda: ZERO)
    by_order: dict[str, Trade] = {}
    for trade in trades:
        booked[trade.key.order_id] += trade.key.closed_size
        by_order[trade.key.order_id] = trade
    found = []
    for order_id, parts in executed.items():
        size = sum((part.closed_size for part in parts), ZERO)
        if size > booked[order_id]:
            found.append(
                Difference(
                    Kind.CLOSE_WITHOUT_CLOSED_PNL,
                    order_id,
                    parts[-1].symbol,
                    max(part.exec_ms for part in parts),
                    side(order_id=order_id, closed_size=size),
                    side(closed_size=booked[order_id]),
                )
            )
    for order_id, trade in by_order.items():
        size = sum((part.closed_size for part in executed.get(order_id, ())), ZERO)
        within = start_ms <= trade.created_ms and trade.key.updated_ms < end_ms
        if size < booked[order_id] and (within or (not size and start_ms <= trade.key.updated_ms < end_ms)):
            found.append(
                Difference(
                    Kind.CLOSED_PNL_WITHOUT_FILL,
                    order_id,
                    trade.symbol,
                    trade.key.updated_ms,
                    side(closed_size=size),
                    side(order_id=order_id, closed_size=booked[order_id], updated_at=moment(trade.key.updated_ms)),
                )
            )
    return found


def closed_at(trades: Iterable[Trade], closes: Iterable[ClosingFill]) -> dict[Trade, int]:
    """When each trade was closed: its order's last execution not after the trade's own time (Bybit stamps it later)."""
    times: dict[str, list[int]] = defaultdict(list)
    for close in closes:
        times[close.order_id].append(close.exec_ms)
    found = {}
    for trade in trades:
        known = times.get(trade.key.order_id)
        before = [at_ms for at_ms in known or () if at_ms <= trade.key.updated_ms]
        found[trade] = max(before) if before else min(known) if known else trade.key.updated_ms
    return found


def compare_trips(
    trips: Iterable[Trip], closed: Mapping[Trade, int], first_error_ms: Mapping[str, int], start_ms: int
) -> list[Difference]:
    """Compare the net of each round trip with the closed P&L of the trades within it.

    Trips that touch a fill that already differs, or follow it, are skipped: their reason is known. So are trips
    whose first closes may be before `start_ms`.
    """
    by_side: dict[tuple[str, bool], list[tuple[int, Trade]]] = defaultdict(list)
    for trade, at_ms in closed.items():
        by_side[trade.symbol, trade.direction == "long"].append((at_ms, trade))
    found = []
    for (symbol, is_long), of_side in _by_side(trips).items():
        rows = sorted(by_side[symbol, is_long], key=lambda row: (row[0], row[1].key))
        wrong_from = first_error_ms.get(symbol)
        used = 0
        for trip in of_side:
            pnl = ZERO
            while used < len(rows) and rows[used][0] <= trip.closed_ms:
                pnl += rows[used][1].closed_pnl
                used += 1
            if trip.opened_ms < start_ms or (wrong_from is not None and trip.closed_ms >= wrong_from):
                continue
            if abs(pnl - trip.net) > TOLERANCE_USDT:
                found.append(_trip_difference(trip, pnl))
    return found


def _by_side(trips: Iterable[Trip]) -> dict[tuple[str, bool], list[Trip]]:
    """Trips grouped by symbol and direction: a reversal ends one and starts the other at the same instant."""
    found: dict[tuple[str, bool], list[Trip]] = defaultdict(list)
    for trip in sorted(trips, key=lambda trip: (trip.closed_ms, trip.opened_ms)):
        found[trip.symbol, trip.is_long].append(trip)
    return found


def _trip_difference(trip: Trip, pnl: Decimal) -> Difference:
    return Difference(
        Kind.ROUND_TRIP,
        f"{trip.symbol}:{trip.closed_id}",
        trip.symbol,
        trip.closed_ms,
        side(net=trip.net, opened_at=moment(trip.opened_ms), closed_at=moment(trip.closed_ms)),
        side(closed_pnl=pnl),
        "It was opened before our record begins." if trip.from_opening else None,
    )


_FIGURES = (
    *("side", "qty", "entry_value", "entry_price", "exit_price", "open_fee", "close_fee", "closed_pnl", "leverage"),
    *("order_price", "order_type", "exec_type", "fill_count", "symbol", "gross", "funding"),
)


def trade_difference(kind: Kind, ours: Trade | None, theirs: Trade | None) -> Difference:
    """A closed trade that one side lacks, or whose figures differ: then those figures are shown."""
    one = theirs or ours
    if one is None:
        raise ValueError("a difference has at least one side")
    key = one.key
    names = [
        name for name in _FIGURES if ours is None or theirs is None or getattr(ours, name) != getattr(theirs, name)
    ]
    return Difference(
        kind,
        f"{key.order_id}:{key.updated_ms}:{key.closed_size.normalize():f}:{key.exit_value.normalize():f}:{key.ordinal}",
        one.symbol,
        one.created_ms,
        None if ours is None else _shown(ours, names),
        None if theirs is None else _shown(theirs, names),
    )


def _shown(trade: Trade, names: list[str]) -> dict[str, str | None]:
    return side(
        order_id=trade.key.order_id,
        updated_at=moment(trade.key.updated_ms),
        closed_size=trade.key.closed_size,
        exit_value=trade.key.exit_value,
        **{name: getattr(trade, name) for name in names},
    )
