"""Compares the database's figures of one account and symbol with the reference."""

from dataclasses import asdict
from decimal import Decimal
from typing import Any

from alpha.postgres.database import Connection, fetch_one
from tests.history.reference import Books, Trip


def trip_row(trip: Trip) -> dict[str, Any]:
    """The row of `trading.round_trips` expected for this trip."""
    assert trip.closed is not None
    return {
        "opened_at": trip.opened[0], "opened_seq": trip.opened[1], "opened_id": trip.opened[2],
        "closed_at": trip.closed[0], "closed_seq": trip.closed[1], "closed_id": trip.closed[2],
        "is_long": trip.is_long, "from_opening": trip.from_opening, "reversed": trip.reversed, "fills": trip.fills,
        "exit_reason": trip.exit_reason, "qty": trip.entry_qty, "max_qty": trip.max_qty, "entry_value": trip.entry_value,
        "exit_value": trip.exit_value, "gross": trip.gross, "fees": trip.fees, "funding": trip.funding,
        "maker_value": trip.maker_value,
    }  # fmt: skip


def expected(books: Books) -> dict[str, Any]:
    """The reference result, in the form of `stored`."""
    zero = Decimal(0)
    return {
        "trips": sorted(
            (trip_row(trip) for trip in books.trips),
            key=lambda row: (row["closed_at"], row["closed_seq"], row["closed_id"].encode()),
        ),
        "days": {day: asdict(sums) for day, sums in books.days.items()},
        "exits": {
            key: {
                "trips": len(exits.nets),
                "wins": sum(net > 0 for net in exits.nets),
                "losses": sum(net < 0 for net in exits.nets),
                "net": sum(exits.nets, zero),
                "won": sum((net for net in exits.nets if net > 0), zero),
                "lost": sum((net for net in exits.nets if net < 0), zero),
                "best": max(exits.nets),
                "worst": min(exits.nets),
                "held_ms": exits.held_ms,
            }
            for key, exits in books.exits.items()
        },
        "held": books.held,
        "cost": books.cost,
        "open_net": books.open_trip.net if books.open_trip is not None else zero,
    }


async def stored(connection: Connection, account_id: int, symbol: str) -> dict[str, Any]:
    """The stored figures, including totals."""
    trips = await connection.fetch(
        "SELECT opened_at, opened_seq, opened_id, closed_at, closed_seq, closed_id, is_long, from_opening, reversed, fills, "
        "exit_reason, qty, max_qty, entry_value, exit_value, gross, fees, funding, maker_value FROM trading.round_trips "
        "WHERE account_id = $1 AND symbol = $2 ORDER BY closed_at, closed_seq, closed_id",
        account_id,
        symbol,
    )
    days = await connection.fetch(
        "SELECT day, fills, volume, maker_volume, gross, fees, funding FROM trading.daily_totals "
        "WHERE account_id = $1 AND symbol = $2",
        account_id,
        symbol,
    )
    exits = await connection.fetch(
        "SELECT day, exit_reason, trips, wins, losses, won + lost AS net, won, lost, best, worst, held_ms "
        "FROM trading.daily_exits WHERE account_id = $1 AND symbol = $2",
        account_id,
        symbol,
    )
    state = await fetch_one(
        connection,
        "SELECT held, cost, gross - fees + funding AS open_net FROM trading.position_states "
        "WHERE account_id = $1 AND symbol = $2",
        account_id,
        symbol,
    )
    return {
        "trips": [dict(row) for row in trips],
        "days": {row["day"]: {k: v for k, v in row.items() if k != "day"} for row in days},
        "exits": {
            (row["day"], row["exit_reason"]): {k: v for k, v in row.items() if k not in {"day", "exit_reason"}}
            for row in exits
        },
        **dict(state),
    }
