"""Compares open positions with the exchange's."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from alpha.model.leg import split_slot
from alpha.model.position import Position
from trade_sync_service.domain.difference import Difference, Kind, side

ZERO = Decimal(0)


def compare_positions(
    ours: Mapping[str, Decimal], theirs: Iterable[Position], known_error: Mapping[str, Decimal]
) -> list[Difference]:
    """Compare signed sizes per slot: symbol, in hedge mode with its leg.

    An error already explained by known fill differences is not reported.
    """
    exchange = {position.slot: position.signed_size for position in theirs}
    found = []
    for slot in sorted({*ours, *exchange}):
        held, theirs_held = ours.get(slot, ZERO), exchange.get(slot, ZERO)
        if held not in (theirs_held, theirs_held + known_error.get(slot, ZERO)):
            found.append(
                Difference(
                    Kind.POSITION,
                    slot,
                    split_slot(slot)[0],
                    None,
                    side(signed_size=held),
                    side(signed_size=theirs_held),
                )
            )
    return found
