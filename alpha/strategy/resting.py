"""Orders of a strategy that wait on the exchange: limit and trigger entries, and the targets of a position. Pure."""

from decimal import Decimal
from enum import StrEnum

import msgspec

from alpha.model.instrument import Instrument
from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.intents import Enter, Notional, Target, Trailing


class Role(StrEnum):
    """What a resting order does when it is filled."""

    ENTRY = "entry"
    TARGET = "target"


class Phase(StrEnum):
    """How far a resting order has come. SENDING: saved, and the exchange may or may not have it."""

    NEW = "new"
    SENDING = "sending"
    OPEN = "open"


class RestingOrder(msgspec.Struct):
    """One resting order. Saved as JSON before it is sent; prices in USDT on a tick, quantities in base coin.

    `direction` is the position's. `price` and `qty` are what is wanted, `sent_price` and `sent_qty` what the exchange
    was told last. `leaving`: it is to be cancelled. `expires_ms` is the close of the last bar at which it may rest, 0 for
    a target. `stop_loss` travels in the create request of an entry; `stop`, `take_profit`, `trailing` and `targets` are
    the entry's levels, fractions of the average entry price; `aimed` are the numbers of those targets that were made.
    `entry_ref` names the entry a target came with.
    """

    ref: str
    role: Role
    symbol: str
    direction: Direction
    price: Decimal
    qty: Decimal
    bar_ms: int
    close_ms: int
    intent: str
    reason: Reason
    trigger: bool = False
    rising: bool = False
    post_only: bool = False
    expires_ms: int = 0
    stop_loss: Decimal | None = None
    stop: Decimal | None = None
    take_profit: Decimal | None = None
    trailing: Trailing | None = None
    targets: tuple[Target, ...] = ()
    aimed: list[int] = msgspec.field(default_factory=list)
    entry_ref: str = ""
    tag: str = ""
    why: str = ""
    decided_price: Decimal | None = None
    filled: Decimal = Decimal(0)
    phase: Phase = Phase.NEW
    sent_price: Decimal | None = None
    sent_qty: Decimal | None = None
    leaving: bool = False

    @property
    def side(self) -> str:
        """The side of the order, as Bybit writes it."""
        return self.direction.value if self.role is Role.ENTRY else self.direction.closing_side

    @property
    def leaves(self) -> Decimal:
        """What can still be filled of what is wanted."""
        return self.qty - self.filled

    def enter(self) -> Enter:
        """The intent of an entry; its size is already in `qty`."""
        return Enter(
            self.symbol,
            self.direction,
            Notional(self.qty * self.price),
            Decimal(0) if self.stop is None else self.stop,
            self.take_profit,
            self.trailing,
            self.why,
            targets=self.targets,
            tag=self.tag,
        )


def ref_of(symbol: str, bar_ms: int, intent: str) -> str:
    """The name of a resting order: the same for the same intent, live and in a back-test."""
    return f"{symbol}:{bar_ms}:{intent}"


def fault_of(enter: Enter) -> str | None:
    """Why an entry makes no sense, or None."""
    if not enter.stop.is_finite() or not enter.stop > 0:
        return "its stop is not above zero"
    if enter.direction is Direction.LONG and enter.stop >= 1:
        return "its stop is not above zero"
    if enter.at is not None and (not enter.at.price.is_finite() or enter.at.price <= 0):
        return "its price is not above zero"
    if enter.valid_bars < 1:
        return "it is valid for less than one bar"
    if any(target.distance <= 0 or not 0 < target.share <= 1 for target in enter.targets):
        return "a target's distance or share is out of range"
    if sum((target.share for target in enter.targets), Decimal(0)) > 1:
        return "its targets close more than it opens"
    return None


def trim(targets: list[RestingOrder], size: Decimal, instrument: Instrument) -> None:
    """Bring what targets may still close down to `size`, the newest first; what falls below the least order leaves."""
    excess = sum((order.leaves for order in targets if not order.leaving), Decimal(0)) - size
    for order in reversed(targets):
        if excess <= 0:
            break
        if order.leaving:
            continue
        cut = min(excess, order.leaves)
        order.qty -= cut
        excess -= cut
    for order in targets:
        if order.leaves < instrument.min_order_qty:
            order.leaving = True


def cut_by_exchange(targets: list[RestingOrder], size: Decimal) -> None:
    """Note what the exchange does by itself when a position shrinks: no reduce-only order is larger than it."""
    for order in targets:
        if order.sent_qty is not None and order.sent_qty - order.filled > size:
            order.sent_qty = order.filled + size
