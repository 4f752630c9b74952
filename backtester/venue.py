"""The exchange as a back-test needs it: one account's money and positions, and what a moving price does to them.

Cross margin, one-way mode; resting orders are in `resting`. A market fill costs the taker fee and, where asked, slippage against the taker,
rounded to the tick against the taker. Stops, targets and trailing stops fire at their own price when the price runs
through them, and at the price jumped to when it jumps over them. Money is Decimal and exact; floats only decide that
nothing can happen, and compare prices, which is exact for prices of at most 15 digits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from alpha.model.instrument import Instrument
from alpha.model.money import ONE, ZERO
from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.bars import to_decimal
from backtester.position import HeldPosition

_BPS = Decimal(10_000)
_MARGIN_STEP = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Costs:
    """What trading costs: `taker_fee` and `maker_fee` of the value, `slippage_bps` of a taker's price (1 is 0.01 %).

    `by_symbol` has the slippage of symbols that have their own.
    """

    taker_fee: Decimal = Decimal("0.00055")
    slippage_bps: Decimal = ZERO
    maker_fee: Decimal = Decimal("0.0002")
    by_symbol: Mapping[str, Decimal] = field(default_factory=dict, hash=False)

    def slippage_of(self, symbol: str) -> Decimal:
        """The slippage of a symbol, in basis points."""
        return self.by_symbol.get(symbol, self.slippage_bps)


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution. `side` is the order's, as Bybit writes it; amounts in USDT."""

    symbol: str
    side: str
    qty: Decimal
    price: Decimal
    fee: Decimal
    time_ms: int


@dataclass(frozen=True, slots=True)
class ClosedPosition:
    """A position that the exchange or an order of ours has closed."""

    holding: HeldPosition
    price: Decimal
    fee: Decimal
    time_ms: int
    reason: Reason  # STOP_LOSS for the plain stop: what it means, its mover knows


class Venue:
    """One account on the exchange."""

    def __init__(self, cash: Decimal, costs: Costs, instruments: Mapping[str, Instrument], leverage: Decimal) -> None:
        self.wallet = cash
        self.costs = costs
        self.leverage = leverage
        self.holdings: dict[str, HeldPosition] = {}
        self.last: dict[str, float] = {}
        self.fills: list[Fill] = []
        self.endangered = True  # False while the owner knows that no price of the bar can use up the margin
        self._instruments = instruments
        self._slips = {symbol: costs.slippage_of(symbol) / _BPS for symbol in instruments}

    # --- figures ------------------------------------------------------------------------------------------------

    def price(self, symbol: str) -> Decimal:
        """The last price, which is also the mark."""
        return to_decimal(self.last[symbol])

    def open_profit(self) -> Decimal:
        """Unrealised profit of all positions in USDT."""
        return sum((held.profit(self.price(held.symbol)) for held in self.holdings.values()), ZERO)

    def bounds(self, lows: Mapping[str, float], highs: Mapping[str, float]) -> tuple[float, float, float, bool]:
        """The worst and best unrealised profit between these prices, the most they are worth, and whether a level is met.

        In floats, stops left aside: bounds that tell when nothing can happen.
        """
        worst = best = value = 0.0
        meets = False
        for symbol, held in self.holdings.items():
            low, high = lows[symbol], highs[symbol]
            value += held.signed_f * held.sign * high
            if held.sign < 0:
                low, high = high, low
            worst += held.signed_f * (low - held.entry_price_f)
            best += held.signed_f * (high - held.entry_price_f)
            against, towards = low * held.sign, high * held.sign
            if (
                against <= held.stop_f
                or against <= held.trail_f
                or towards >= held.target_f
                or (towards >= held.activation_f and towards > held.extreme_f)
            ):
                meets = True
        return worst, best, value, meets

    def equity(self) -> Decimal:
        """Wallet balance and unrealised profit in USDT."""
        return self.wallet + self.open_profit()

    def _maintenance_rate(self, symbol: str) -> Decimal:
        """Maintenance margin of a value, closing fee included: half of the least initial margin (Bybit, first tier)."""
        initial = (ONE / self._instruments[symbol].max_leverage).quantize(_MARGIN_STEP)
        return initial / 2 + self.costs.taker_fee

    def _maintenance(self) -> Decimal:
        return sum(
            (
                held.size * self.price(held.symbol) * self._maintenance_rate(held.symbol)
                for held in self.holdings.values()
            ),
            ZERO,
        )

    def _available(self) -> Decimal:
        used = sum(
            (
                held.size * self.price(held.symbol) * (ONE / self.leverage + self.costs.taker_fee)
                for held in self.holdings.values()
            ),
            ZERO,
        )
        return self.equity() - used

    # --- orders of ours -----------------------------------------------------------------------------------------

    def slipped(self, symbol: str, price: Decimal, *, buy: bool, qty: Decimal = ZERO) -> Decimal:
        """What a taker of `qty` pays or gets at `price`: worse by the slippage, on a tick."""
        slip = self._slips[symbol]
        if not slip:
            return price
        tick = self._instruments[symbol].tick_size
        moved = price * (ONE + slip if buy else ONE - slip)
        return max((moved / tick).to_integral_value(ROUND_CEILING if buy else ROUND_FLOOR) * tick, tick)

    def affords(self, symbol: str, direction: Direction, size: Decimal) -> bool:
        """True when the account has the margin and the fees of a market order now."""
        price = self.slipped(symbol, self.price(symbol), buy=direction is Direction.LONG)
        return size * price * (ONE / self.leverage + 2 * self.costs.taker_fee) <= max(self._available(), ZERO)

    def open(self, symbol: str, direction: Direction, size: Decimal, time_ms: int) -> HeldPosition:
        """A market order that opens a position; the symbol must be flat."""
        price = self.slipped(symbol, self.price(symbol), buy=direction is Direction.LONG, qty=size)
        fee = price * size * self.costs.taker_fee
        self.wallet -= fee
        held = self.holdings[symbol] = HeldPosition(symbol, direction, size, price, fee, time_ms)
        self.fills.append(Fill(symbol, direction.value, size, price, fee, time_ms))
        return held

    def close(self, symbol: str, time_ms: int, reason: Reason) -> ClosedPosition:
        """A market order that closes the whole position at the last price."""
        held = self.holdings[symbol]
        price = self.slipped(symbol, self.price(symbol), buy=held.direction is Direction.SHORT, qty=held.size)
        return self._leave(held, price, time_ms, reason)

    def _leave(self, held: HeldPosition, price: Decimal, time_ms: int, reason: Reason) -> ClosedPosition:
        return self._leave_at(held, price, self.costs.taker_fee, time_ms, reason)

    def _leave_at(
        self, held: HeldPosition, price: Decimal, rate: Decimal, time_ms: int, reason: Reason
    ) -> ClosedPosition:
        value = price * held.size
        fee = value * rate
        self.wallet += (value - held.entry_value) * held.sign - fee
        del self.holdings[held.symbol]
        self.fills.append(Fill(held.symbol, held.direction.closing_side, held.size, price, fee, time_ms))
        return ClosedPosition(held, price, fee, time_ms, reason)

    # --- the market moves ---------------------------------------------------------------------------------------

    def jump(self, symbol: str, target: float, time_ms: int) -> list[ClosedPosition]:
        """The price of a held symbol is suddenly `target`: what margin is left is looked at, then levels fire there."""
        held = self.holdings[symbol]
        self.last[symbol] = target
        if self.endangered and self.equity() <= self._maintenance():
            return self._take_over(time_ms)
        fired = held.fires(target)
        if fired is not None:
            return [self.close(symbol, time_ms, fired)]
        held.follow(to_decimal(target))
        return []

    def run(self, symbol: str, target: float, time_ms: int) -> list[ClosedPosition]:
        """The price of a held symbol runs to `target`, through every price in between."""
        held = self.holdings[symbol]
        fired = held.fires(target)
        if self.endangered and (at := self._liquidates(held, target, fired)):
            self.last[symbol] = float(at)
            return self._take_over(time_ms)
        level = None if fired is None else held.level(fired)
        if fired is not None and level is not None:
            self.last[symbol] = float(level)
            departure = self.close(symbol, time_ms, fired)
            self.last[symbol] = target
            return [departure]
        self.last[symbol] = target
        held.follow(to_decimal(target))
        return []

    def fund(self, symbol: str, rate: Decimal, time_ms: int) -> list[ClosedPosition]:
        """Charge funding at the last price: longs pay a rate above zero to shorts."""
        held = self.holdings[symbol]
        received = -held.size * self.price(symbol) * rate * held.sign
        self.wallet += received
        held.funding += received
        if self.endangered and self.equity() <= self._maintenance():
            return self._take_over(time_ms)
        return []

    # --- liquidation --------------------------------------------------------------------------------------------

    def _liquidates(self, held: HeldPosition, target: float, fired: Reason | None) -> Decimal | None:
        """The price on the way to `target` at which equity meets maintenance margin, if no level fires before."""
        price = self._liquidation_price(held)
        if price <= 0 or (to_decimal(target) - price) * held.sign > 0:
            return None
        level = None if fired is None else held.level(fired)
        return price if level is None or (price - level) * held.sign > 0 else None

    def _liquidation_price(self, held: HeldPosition) -> Decimal:
        """The price at which equity meets maintenance margin, on a tick away from the market; below zero: never."""
        size, mark = held.size, self.price(held.symbol)
        rate = self._maintenance_rate(held.symbol)
        others = self._maintenance() - size * mark * rate
        price = (size * mark - held.sign * (self.equity() - others)) / (size * (1 - held.sign * rate))
        tick = self._instruments[held.symbol].tick_size
        rounding = ROUND_FLOOR if held.sign > 0 else ROUND_CEILING
        return (price / tick).to_integral_value(rounding) * tick

    def _take_over(self, time_ms: int) -> list[ClosedPosition]:
        """Close every position at its bankruptcy price, where closing it uses up its share of the equity."""
        gone = []
        while self.holdings:
            total = sum((held.size * self.price(held.symbol) for held in self.holdings.values()), ZERO)
            held = next(iter(self.holdings.values()))
            mark = self.price(held.symbol)
            cover = self.equity() * held.size * mark / total
            fee = self.costs.taker_fee
            price = (held.size * mark - held.sign * cover) / (held.size * (1 - held.sign * fee))
            tick = self._instruments[held.symbol].tick_size
            rounding = ROUND_CEILING if held.sign > 0 else ROUND_FLOOR
            price = max((price / tick).to_integral_value(rounding) * tick, tick)
            gone.append(self._leave(held, price, time_ms, Reason.LIQUIDATION))
        self.wallet = max(self.wallet, ZERO)
        return gone
