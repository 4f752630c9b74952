"""One open position and the levels that the exchange keeps for it.

Levels are kept twice: as the Decimal that a fill gets, and as a float times the direction's sign, so that for a long and
for a short alike a stop is met by `price x sign <= level` and a target by `>=`. Such comparisons are exact: prices of at
most 15 digits keep their order as floats.
"""

from decimal import ROUND_HALF_UP, Decimal

from alpha.model.money import ZERO
from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.positions import Protection

MONEY_STEP = Decimal("1e-12")  # shares of a sum are cut to this, as the simulated exchange does
_NEVER = float("inf")


class HeldPosition:
    """One open position and the levels that the exchange keeps for it."""

    __slots__ = (
        "activation_f",
        "active",
        "direction",
        "distance",
        "entered",
        "entered_value",
        "entry_fee",
        "entry_price",
        "entry_price_f",
        "entry_value",
        "extreme",
        "extreme_f",
        "funding",
        "left",
        "left_fees",
        "left_gross",
        "left_value",
        "opened_ms",
        "sign",
        "signed_f",
        "size",
        "stop",
        "stop_f",
        "stop_serial",
        "symbol",
        "target",
        "target_f",
        "target_serial",
        "trail_f",
    )

    def __init__(self, symbol: str, direction: Direction, size: Decimal, price: Decimal, fee: Decimal, ms: int) -> None:
        self.symbol = symbol
        self.direction = direction
        self.sign = direction.sign
        self.size = size
        self.signed_f = float(size) * self.sign
        self.entry_price = price
        self.entry_price_f = float(price)
        self.entry_value = price * size
        self.entry_fee = fee
        self.funding = ZERO
        self.opened_ms = ms
        # What all its entries, and the exits of parts of it, add up to.
        self.entered, self.entered_value = size, self.entry_value
        self.left = self.left_value = self.left_gross = self.left_fees = ZERO
        # When its levels were made: at equal prices the older order is first.
        self.stop_serial = self.target_serial = 0
        self.stop: Decimal | None = None
        self.target: Decimal | None = None
        self.distance: Decimal | None = None
        self.active: Decimal | None = None
        self.extreme: Decimal | None = None
        self.stop_f = self.trail_f = self.extreme_f = -_NEVER
        self.target_f = self.activation_f = _NEVER

    def profit(self, mark: Decimal) -> Decimal:
        """Unrealised profit in USDT at `mark`, before fees and funding."""
        return self.size * mark * self.sign - self.entry_value * self.sign

    def add(self, qty: Decimal, price: Decimal, fee: Decimal) -> None:
        """An entry adds to it."""
        self.size += qty
        self.entry_value += price * qty
        self.entry_fee += fee
        self.entered += qty
        self.entered_value += price * qty
        self._count()

    def part(self, qty: Decimal, price: Decimal, fee: Decimal) -> Decimal:
        """A part of it, not all, is closed; returns the gross profit. Its share of the cost is cut as the exchange does."""
        share = (self.entry_value * qty / self.size).quantize(MONEY_STEP, rounding=ROUND_HALF_UP)
        gross = (price * qty - share) * self.sign
        self.size -= qty
        self.entry_value -= share
        self.left += qty
        self.left_value += price * qty
        self.left_gross += gross
        self.left_fees += fee
        self._count()
        return gross

    def _count(self) -> None:
        self.signed_f = float(self.size) * self.sign
        self.entry_price = self.entry_value / self.size
        self.entry_price_f = float(self.entry_price)

    def set_levels(self, levels: Protection, last: Decimal) -> None:
        """Set the levels that are given, as `position/trading-stop` does at the price `last`; others stay."""
        if levels.trailing_distance is not None and (levels.trailing_distance, levels.active_price) != (
            self.distance,
            self.active,
        ):
            self.distance, self.active = levels.trailing_distance, levels.active_price
            self.extreme = None
            self.extreme_f = self.trail_f = -_NEVER
            self.activation_f = -_NEVER if self.active is None else float(self.active) * self.sign
            self.follow(last)
        if levels.take_profit is not None:
            self.target = levels.take_profit
            self.target_f = float(self.target) * self.sign
        self.move_stop(levels.stop_loss)

    def protect(self, levels: Protection, last: Decimal) -> None:
        """Set all levels anew, as `position/trading-stop` does at the price `last`."""
        self.target = levels.take_profit
        self.target_f = _NEVER if self.target is None else float(self.target) * self.sign
        self.distance, self.active = levels.trailing_distance, levels.active_price
        self.extreme = None
        self.extreme_f = self.trail_f = -_NEVER
        self.activation_f = _NEVER
        if self.distance is not None:
            self.activation_f = -_NEVER if self.active is None else float(self.active) * self.sign
            self.follow(last)
        self.move_stop(levels.stop_loss)

    def move_stop(self, price: Decimal) -> None:
        """Set the plain stop loss."""
        self.stop = price
        self.stop_f = float(price) * self.sign

    def follow(self, last: Decimal) -> None:
        """The price has been at `last`: activate the trailing stop, or let it follow."""
        if self.distance is None:
            return
        towards = float(last) * self.sign
        if self.extreme is None:
            if towards < self.activation_f:
                return
        elif towards <= self.extreme_f:
            return
        self.extreme, self.extreme_f = last, towards
        self.trail_f = float(last - self.distance * self.sign) * self.sign

    def fires(self, target: float) -> Reason | None:
        """Which level a price on its way to `target` meets first: its reason, STOP_LOSS for the plain stop."""
        towards = target * self.sign
        if towards >= self.target_f:
            return Reason.TAKE_PROFIT
        if towards <= self.trail_f and self.trail_f > self.stop_f:
            return Reason.TRAILING_STOP
        return Reason.STOP_LOSS if towards <= self.stop_f else None

    def level(self, reason: Reason) -> Decimal | None:
        """The price at which the level of this reason fires."""
        if reason is Reason.TAKE_PROFIT:
            return self.target
        return self.trail if reason is Reason.TRAILING_STOP else self.stop

    @property
    def trail(self) -> Decimal | None:
        """The price at which the trailing stop fires; None before its activation."""
        if self.extreme is None or self.distance is None:
            return None
        return self.extreme - self.distance * self.sign
