"""What re-reading a window changes in the table. Pure: stored rows and read rows in, a plan out.

read, not stored                    new
stored and read, all equal          confirmed
stored and read, figures differ     corrected and reported
stored, not read, but its order has corrected and reported: the row has grown or was split since
  a new row that was not stored
stored, not read, and no such row   vanished: kept and reported
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from trade_sync_service.domain.trade_rows import Trade


class Correction(NamedTuple):
    """A row whose figures Bybit has changed."""

    before: Trade
    after: Trade


class Changes(NamedTuple):
    """The changes to store for one window."""

    new: list[Trade]
    confirmed: list[Trade]
    corrected: list[Correction]
    vanished: list[Trade]


def changes(stored: Iterable[Trade], read: Iterable[Trade]) -> Changes:
    """Compare the stored rows of a window with Bybit's current ones."""
    ours = {trade.key: trade for trade in stored}
    theirs = {trade.key: trade for trade in read}
    new: list[Trade] = []
    confirmed: list[Trade] = []
    corrected: list[Correction] = []
    gone: dict[str, list[Trade]] = defaultdict(list)
    for key, trade in ours.items():
        if key not in theirs:
            gone[key.order_id].append(trade)
    for key, trade in theirs.items():
        before = ours.get(key)
        if before is None and gone[key.order_id]:
            corrected.append(Correction(gone[key.order_id].pop(0), trade))
        elif before is None:
            new.append(trade)
        elif before == trade:
            confirmed.append(trade)
        else:
            corrected.append(Correction(before, trade))
    return Changes(new, confirmed, corrected, [trade for left in gone.values() for trade in left])
