"""Balances, positions and open orders of one account, and the margin they need.

Cross margin: equity = balances of all coins + unrealised P&L over all positions backs everything together (1 USDC
counts as 1 USDT). Isolated margin: each position has its own margin, and each coin pays for its own contracts.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal

from exchange_simulator.engine.model import BUY, ZERO, Order, Position, leg_of
from exchange_simulator.market.model import Instrument, RiskTier

MNT = "MNT"


@dataclass(slots=True)
class Resting:
    """Sums over the live, margin-using orders of one symbol."""

    buy_qty: Decimal = ZERO
    buy_value: Decimal = ZERO
    sell_qty: Decimal = ZERO
    sell_value: Decimal = ZERO


@dataclass(slots=True)
class Totals:
    """The account's history as five sums: balance = deposits + gross - fees + funding + insurance."""

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
    balances: dict[str, Decimal] = field(default_factory=lambda: {"USDT": ZERO})
    margin_mode: str = "REGULAR_MARGIN"
    positions: dict[str, Position] = field(default_factory=dict)  # by leg
    hedged: set[str] = field(default_factory=set)  # symbols in hedge mode
    orders: dict[str, Order] = field(default_factory=dict)
    by_symbol: dict[str, dict[str, Order]] = field(default_factory=dict)
    links: dict[str, Order] = field(default_factory=dict)
    resting: dict[str, Resting] = field(default_factory=dict)
    sums: dict[str, Totals] = field(default_factory=lambda: {"USDT": Totals()})  # by settle coin
    updated_ms: int = 0
    mnt_fees: bool = False  # trading fees are paid in MNT while the balance lasts
    demo: bool = False  # demo trading: orders are kept for seven days, unsupported calls are refused
    # Between these ticks of each held symbol the account cannot be liquidated; emptied when money or size changes.
    safe: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def wallet(self) -> Decimal:
        """Sum of the balances that back positions, 1 USDC counted as 1 USDT."""
        if len(self.balances) == 1:
            return self.balances["USDT"]
        return sum((amount for coin, amount in self.balances.items() if coin != MNT), ZERO)

    @property
    def totals(self) -> Totals:
        """Totals over the coins that back positions, 1 USDC counted as 1 USDT."""
        if len(self.sums) == 1:
            return self.sums["USDT"]
        parts = [part for coin, part in self.sums.items() if coin != MNT]
        return Totals(
            sum((part.deposits for part in parts), ZERO),
            sum((part.gross for part in parts), ZERO),
            sum((part.fees for part in parts), ZERO),
            sum((part.funding for part in parts), ZERO),
        )

    @property
    def isolated(self) -> bool:
        return self.margin_mode == "ISOLATED_MARGIN"

    def pay(self, coin: str, amount: Decimal) -> Totals:
        """Adds an amount (negative to subtract) to the balance of a coin; returns its totals for
        the caller to update.
        """
        self.balances[coin] = self.balances.get(coin, ZERO) + amount
        found = self.sums.get(coin)
        if found is None:
            found = self.sums[coin] = Totals()
        return found

    def position(self, symbol: str, idx: int = 0) -> Position:
        """The position of a symbol or of one of its legs, created flat if missing."""
        leg = leg_of(symbol, idx)
        found = self.positions.get(leg)
        if found is None:
            found = self.positions[leg] = Position(symbol=symbol, leverage=self.leverage(symbol, idx), idx=idx)
        return found

    def leverage(self, symbol: str, idx: int = 0) -> Decimal:
        """The leverage of a leg; that of another leg of the symbol when this one has never been used."""
        for each in (idx, 0, 1, 2):
            found = self.positions.get(leg_of(symbol, each))
            if found is not None:
                return found.leverage
        return self.default_leverage

    def legs(self, symbol: str) -> list[Position]:
        """The rows of a symbol: one in one-way mode, the long and the short one in hedge mode."""
        if symbol in self.hedged:
            return [self.position(symbol, 1), self.position(symbol, 2)]
        return [self.position(symbol)]

    def size(self, symbol: str, idx: int = 0) -> Decimal:
        found = self.positions.get(leg_of(symbol, idx))
        return found.size if found is not None else ZERO

    def holds(self, symbol: str) -> bool:
        """Whether any leg of a symbol is not flat."""
        return any(self.size(symbol, idx) for idx in ((1, 2) if symbol in self.hedged else (0,)))

    def held(self) -> list[Position]:
        """All positions that are not flat."""
        return [position for position in self.positions.values() if position.size]

    # --- open orders --------------------------------------------------------------------------------------------

    def add(self, order: Order) -> None:
        self.orders[order.order_id] = order
        self.by_symbol.setdefault(order.symbol, {})[order.order_id] = order
        if order.link_id:
            self.links[order.link_id] = order
        self.reserve(order)

    def drop(self, order: Order) -> None:
        """Removes a closed order, whose end `recounted` has taken out of the margin sums."""
        self.orders.pop(order.order_id, None)
        self.by_symbol.get(order.symbol, {}).pop(order.order_id, None)
        if order.link_id:
            self.links.pop(order.link_id, None)

    def symbol_orders(self, symbol: str) -> list[Order]:
        return list(self.by_symbol.get(symbol, {}).values())

    def reserve(self, order: Order) -> None:
        """Adds an order to the margin sums."""
        self._count(order, 1)

    @contextmanager
    def recounted(self, order: Order) -> Iterator[None]:
        """What is changed in an order inside shows in the margin sums afterwards; meanwhile they are without it."""
        self._count(order, -1)
        try:
            yield
        finally:
            self._count(order, 1)

    @contextmanager
    def trial(self, order: Order) -> Iterator[None]:
        """The margin sums as if they had this order."""
        self._count(order, 1)
        try:
            yield
        finally:
            self._count(order, -1)

    def _count(self, order: Order, direction: int) -> None:
        """Adds (+1) or removes (-1); conditional, reduce-only and ended orders use no margin."""
        if order.reduce_only or order.status == "Untriggered" or not order.leaves:
            return
        leg = order.leg
        sums = self.resting.get(leg)
        if sums is None:
            sums = self.resting[leg] = Resting()
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


def order_margin(account: Account, leg: str) -> Decimal:
    """Initial margin of the resting orders of a leg: the larger side; quantity that only offsets
    the position is free.
    """
    sums = account.resting.get(leg)
    if sums is None:
        return ZERO
    position = account.positions.get(leg)
    symbol, _, idx = leg.partition("#")
    leverage = position.leverage if position is not None else account.leverage(symbol, int(idx or 0))
    size = position.size if position is not None else ZERO
    return max(
        opening_value(sums.buy_qty, sums.buy_value, -size), opening_value(sums.sell_qty, sums.sell_value, size)
    ) * (1 / leverage + 2 * account.taker_fee)


def opening_value(qty: Decimal, value: Decimal, offset: Decimal) -> Decimal:
    """Value of orders beyond the `offset` quantity that would only close the position."""
    if offset <= 0:
        return value
    if qty <= offset:
        return ZERO
    return value * (qty - offset) / qty
