"""A difference between our records and the exchange's, and what the comparisons share."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from alpha.model.money import plain
from alpha.model.timestamp import at

#: Sums of rounded amounts may differ by less than this many USDT without being wrong.
TOLERANCE_USDT = Decimal("0.000001")

Side = dict[str, str | None]


class Kind(StrEnum):
    """What was compared and how it differs."""

    MISSING_FILL = "missing_fill"
    EXTRA_FILL = "extra_fill"
    FILL_DIFFERS = "fill_differs"
    CLOSED_PNL_MISSING = "closed_pnl_missing"
    CLOSED_PNL_EXTRA = "closed_pnl_extra"
    CLOSED_PNL_DIFFERS = "closed_pnl_differs"
    CLOSE_WITHOUT_CLOSED_PNL = "close_without_closed_pnl"
    CLOSED_PNL_WITHOUT_FILL = "closed_pnl_without_fill"
    ROUND_TRIP = "round_trip"
    TRANSFER_MISSING = "transfer_missing"
    TRANSFER_EXTRA = "transfer_extra"
    TRANSFER_DIFFERS = "transfer_differs"
    WALLET = "wallet"
    POSITION = "position"


class Difference(NamedTuple):
    """One difference. `subject` is unique per kind; `time_ms` is when it happened, None for a current state.

    `still_open` marks an explanation that names the cause but leaves our records wrong.
    """

    kind: Kind
    subject: str
    symbol: str | None
    time_ms: int | None
    ours: Side | None
    theirs: Side | None
    explanation: str | None = None
    still_open: bool = False

    @property
    def open(self) -> bool:
        """True when it needs the operator's attention."""
        return self.explanation is None or self.still_open


def told_as_by_hand(difference: Difference, orders: set[str]) -> Difference:
    """The difference, explained by a manual order when its order is one of `orders`.

    It stays open: manual orders are recorded like all others, so something else is wrong.
    """
    shown = difference.theirs or difference.ours or {}
    if difference.explanation is not None or shown.get("order_id") not in orders:
        return difference
    return difference._replace(
        explanation="A manual trade: its order has no Alpha order id and was not created by the exchange.",
        still_open=True,
    )


def side(**values: object) -> Side:
    """One side of a difference as strings: amounts without exponent, times as ISO 8601."""
    return {name: _text(value) for name, value in values.items()}


def moment(ms: int) -> datetime:
    """The aware UTC time of milliseconds since 1970."""
    return at(ms)


def _text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, Decimal):
        return plain(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)
