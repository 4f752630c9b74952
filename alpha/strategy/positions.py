"""A position of the bot's own making, and the levels that protect it on the exchange."""

from decimal import Decimal

import msgspec

from alpha.model.instrument import Instrument
from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.model.sizing import round_distance, round_stop, round_target
from alpha.strategy.intents import Enter, Trailing


class Protection(msgspec.Struct, frozen=True):
    """Levels on the exchange, all prices in USDT and on a tick. `trailing_distance` works once `active_price` is reached."""

    stop_loss: Decimal
    take_profit: Decimal | None = None
    trailing_distance: Decimal | None = None
    active_price: Decimal | None = None


class OwnPosition(msgspec.Struct):
    """One position of the bot's own making. Saved as JSON; amounts are texts there.

    `entry_price` is the actual average price, `opened_ms` the exchange's time of the first fill, `opened_bar_ms` the
    start of the bar it fell into; holding times count from that. `highest_high` and `lowest_low` are over the bars that
    closed since. `stop_meaning` is the exit reason of a fill at `stop_loss`. `adds` counts the entries that followed the
    first; `tag` is that of the first. `levels_due`: the levels changed and the exchange has not been told;
    `trailing_due`: the trailing stop among them.
    """

    symbol: str
    direction: Direction
    size: Decimal
    entry_price: Decimal
    opened_ms: int
    opened_bar_ms: int
    stop_loss: Decimal
    take_profit: Decimal | None = None
    trailing_distance: Decimal | None = None
    active_price: Decimal | None = None
    stop_meaning: Reason = Reason.STOP_LOSS
    highest_high: Decimal | None = None
    lowest_low: Decimal | None = None
    adds: int = 0
    tag: str = ""
    levels_due: bool = False
    trailing_due: bool = False

    @property
    def levels(self) -> Protection:
        """Its levels on the exchange."""
        return Protection(self.stop_loss, self.take_profit, self.trailing_distance, self.active_price)

    def levels_at(self, last: Decimal) -> "Protection | Reason":
        """The levels to set while the market is at `last`; the reason to close for when it has passed one of them."""
        if stop_passed(self.direction, self.stop_loss, last):
            return self.stop_meaning
        if self.take_profit is not None and target_passed(self.direction, self.take_profit, last):
            return Reason.TAKE_PROFIT
        if not self.trailing_due or self.trailing_distance is None:
            return Protection(self.stop_loss, self.take_profit)
        active = self.active_price
        if active is not None and target_passed(self.direction, active, last):
            active = None
        return Protection(self.stop_loss, self.take_profit, self.trailing_distance, active)

    def fit(self, instrument: Instrument) -> None:
        """Bring its levels to the symbol's tick, which may have changed since they were made."""
        side = self.direction.value
        self.stop_loss = round_stop(self.stop_loss, side, instrument)
        if self.take_profit is not None:
            self.take_profit = round_target(self.take_profit, side, instrument)
        if self.trailing_distance is not None:
            self.trailing_distance = round_distance(self.trailing_distance, instrument)
        if self.active_price is not None:
            self.active_price = round_target(self.active_price, side, instrument)

    def held_ms(self, close_ms: int) -> int:
        """How long it has been held at a bar's close, in milliseconds."""
        return close_ms - self.opened_bar_ms

    def profit_at(self, price: Decimal) -> Decimal:
        """Unrealised profit in USDT at `price`, before fees."""
        return (price - self.entry_price) * self.size * self.direction.sign

    def tightens(self, stop: Decimal) -> bool:
        """True when `stop` is nearer to the market than the stop in force."""
        return (stop - self.stop_loss) * self.direction.sign > 0


def stop_passed(direction: Direction, stop: Decimal, price: Decimal) -> bool:
    """True when the market at `price` has reached a stop: it could not be set any more, the position must close."""
    return price <= stop if direction is Direction.LONG else price >= stop


def target_passed(direction: Direction, target: Decimal, price: Decimal) -> bool:
    """True when the market at `price` has reached a take profit: it could not be set any more."""
    return price >= target if direction is Direction.LONG else price <= target


def protection_for(
    direction: Direction,
    entry_price: Decimal,
    *,
    stop: Decimal,
    take_profit: Decimal | None,
    trailing: Trailing | None,
    instrument: Instrument,
) -> Protection:
    """The levels of a position with this average entry price; fractions as in `Enter`, rounded away from the market."""
    sign = direction.sign
    side = direction.value
    return Protection(
        stop_loss=round_stop(entry_price * (1 - sign * stop), side, instrument),
        take_profit=(
            None if take_profit is None else round_target(entry_price * (1 + sign * take_profit), side, instrument)
        ),
        trailing_distance=None if trailing is None else round_distance(entry_price * trailing.distance, instrument),
        active_price=(
            None if trailing is None else round_target(entry_price * (1 + sign * trailing.activation), side, instrument)
        ),
    )


def protection_of(enter: Enter, entry_price: Decimal, instrument: Instrument) -> Protection:
    """The levels that `enter` asks for at this average entry price."""
    return protection_for(
        enter.direction,
        entry_price,
        stop=enter.stop,
        take_profit=enter.take_profit,
        trailing=enter.trailing,
        instrument=instrument,
    )
