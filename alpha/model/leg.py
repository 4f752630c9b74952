"""The legs of a symbol: `both` in one-way mode, `long` and `short` in hedge mode (Bybit's `positionIdx` 0, 1 and 2)."""

from decimal import Decimal

from alpha.model.side import BUY

BOTH, LONG, SHORT = "both", "long", "short"
_OF_INDEX = {0: BOTH, 1: LONG, 2: SHORT}
_INDEX_OF = {leg: index for index, leg in _OF_INDEX.items()}


def leg_of_index(position_idx: int) -> str:
    """The leg of a `positionIdx`; an index that Bybit does not document counts as one-way."""
    return _OF_INDEX.get(position_idx, BOTH)


def index_of(leg: str) -> int:
    """The `positionIdx` of a leg."""
    return _INDEX_OF[leg]


def hedge_leg(side: str, closed_size: Decimal | None, *, funding: bool = False) -> str | None:
    """The leg of an execution in hedge mode, from its own fields; None when they do not say.

    A hedge order never flips: what closes something is of the other side than its leg. Funding has the side of the leg.
    """
    if funding:
        return LONG if side == BUY else SHORT
    if closed_size is None:
        return None
    return LONG if (side == BUY) != bool(closed_size) else SHORT


def slot_of(symbol: str, leg: str) -> str:
    """The name of one position of an account: `BTCUSDT`, or `BTCUSDT:long` in hedge mode."""
    return symbol if leg == BOTH else f"{symbol}:{leg}"


def split_slot(slot: str) -> tuple[str, str]:
    """Symbol and leg of a position's name."""
    symbol, _, leg = slot.partition(":")
    return symbol, leg or BOTH
