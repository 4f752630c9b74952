"""Sides of orders and directions of positions."""

from enum import StrEnum

BUY = "Buy"


SELL = "Sell"


class Direction(StrEnum):
    """The direction of a position; the value is the side of its opening order, in Bybit's notation."""

    LONG = "Buy"
    SHORT = "Sell"

    @property
    def sign(self) -> int:
        """1 for a long, -1 for a short."""
        return 1 if self is Direction.LONG else -1

    @property
    def closing_side(self) -> str:
        """The side of the closing order."""
        return "Sell" if self is Direction.LONG else "Buy"
