"""One account's money, positions and open orders, and the margin they need.

Cross margin, one-way mode: equity = wallet balance + unrealised P&L over all positions backs everything together.
"""

from dataclasses import dataclass, field
from decimal import Decimal

from exchange_simulator.engine.model import BUY, ZERO, Order, Position
from exchange_simulator.market.model import Instrument, RiskTier


@dataclass(slots=True)
class Resting:
    """What the live, margin-using orders of one symbol add up to."""

    buy_qty: Decimal = ZERO
    buy_value: Decimal = ZERO
    sell_qty: Decimal = ZERO
    sell_value: Decimal = ZERO


@dataclass(slots=True)
class Totals:
    """The account's whole history in five sums: balance = deposits + gross - fees + funding + insurance."""

    deposits: Decimal = ZERO
    gross: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO


@dataclass(slots=True)
class Account:
    """State of one account. `uid` is Bybit's userID."""

    uid: int
    taker_fee: Decimal
    maker_fee: Decimal
    default_leverage: Decimal
    wallet: Decimal = ZERO
    margin_mode: str = "REGULAR_MARGIN"
    positions: dict[str, Position] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    by_symbol: dict[str, dict[str, Order]] = field(default_factory=dict)
    links: dict[str, Order] = field(default_factory=dict)
    resting: dict[str, Resting] = field(default_factory=dict)
    totals: Totals = field(default_factory=Totals)
    updated_ms: int = 0
    # Between these ticks of each held symbol the account cannot be liquidated; emptied when money or size changes.
    safe: dict[str, tuple[int, int]] = field(default_factory=dict)

    def position(self, symbol: str) -> Position:
        """The position of a symbol, made flat when there was none."""
        found = self.positions.get(symbol)
        if found is None:
            found = self.positions[symbol] = Position(symbol=symbol, leverage=self.default_leverage)
        return found

    def size(self, symbol: str) -> Decimal:
        found = self.positions.get(symbol)
        return found.size if found is not None else ZERO

    def held(self) -> list[Position]:
        """Positions that are not flat."""
        return [position for position in self.positions.values() if position.size]

    # --- open orders --------------------------------------------------------------------------------------------

    def add(self, order: Order) -> None:
        self.orders[order.order_id] = order
        self.by_symbol.setdefault(order.symbol, {})[order.order_id] = order
        if order.link_id:
            self.links[order.link_id] = order
        self.count(order, 1)

    def drop(self, order: Order) -> None:
        """The order has closed. Its sums must have been taken out with `count(order, -1)` before its leaves changed."""
        self.orders.pop(order.order_id, None)
        self.by_symbol.get(order.symbol, {}).pop(order.order_id, None)
        if order.link_id:
            self.links.pop(order.link_id, None)

    def symbol_orders(self, symbol: str) -> list[Order]:
        return list(self.by_symbol.get(symbol, {}).values())

    def count(self, order: Order, direction: int) -> None:
        """Adds (+1) an order to the margin sums or takes it out (-1); conditional and reducing ones use none."""
        if order.reduce_only or order.status == "Untriggered" or not order.leaves:
            return
        sums = self.resting.get(order.symbol)
        if sums is None:
            sums = self.resting[order.symbol] = Resting()
        qty = order.leaves * direction
        if order.side == BUY:
            sums.buy_qty += qty
            sums.buy_value += qty * order.price
        else:
            sums.sell_qty += qty
            sums.sell_value += qty * order.price


def tier_of(instrument: Instrument, value: Decimal) -> RiskTier:
    """The risk-limit tier that a position value falls in."""
    for tier in instrument.risk_tiers:
        if value <= tier.limit_value:
            return tier
    return instrument.risk_tiers[-1]


def maintenance_margin(instrument: Instrument, value: Decimal) -> Decimal:
    """Maintenance margin of a position worth `value`: value x rate - deduction of its tier."""
    tier = tier_of(instrument, value)
    return max(value * tier.maintenance_margin - tier.mm_deduction, ZERO)


def order_margin(account: Account, symbol: str) -> Decimal:
    """Initial margin of the resting orders of a symbol: the dearer side; what only offsets the position is free."""
    sums = account.resting.get(symbol)
    if sums is None:
        return ZERO
    position = account.positions.get(symbol)
    leverage = position.leverage if position is not None else account.default_leverage
    size = position.size if position is not None else ZERO
    return max(
        opening_value(sums.buy_qty, sums.buy_value, -size), opening_value(sums.sell_qty, sums.sell_value, size)
    ) * (1 / leverage + 2 * account.taker_fee)


def opening_value(qty: Decimal, value: Decimal, offset: Decimal) -> Decimal:
    """Value of orders beyond the `offset` quantity that they would only close."""
    if offset <= 0:
        return value
    if qty <= offset:
        return ZERO
    return value * (qty - offset) / qty
