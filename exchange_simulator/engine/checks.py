"""Validates prices of orders and stops; refusals carry Bybit's codes."""

from decimal import Decimal

from exchange_simulator.engine.account import Account
from exchange_simulator.engine.book import Book
from exchange_simulator.engine.model import BUY, Refused
from exchange_simulator.engine.state import Engine
from exchange_simulator.market.model import Instrument


def check_price(instrument: Instrument, book: Book, side: str, price: Decimal, conditional: bool) -> None:
    """Checks that a price is on the tick and within the instrument's bounds; for a live order, also within the band."""
    if price % instrument.price_step or not instrument.min_price <= price <= instrument.max_price:
        raise Refused(10001, "params error: Price invalid")
    if conditional:
        return
    ratio = instrument.price_limit_ratio_x
    if side == BUY and price > book.mark * (1 + ratio):
        raise Refused(110003, "Order price exceeds the allowable range: buy price above the maximum")
    if side != BUY and price < book.mark * (1 - ratio):
        raise Refused(110003, "Order price exceeds the allowable range: sell price below the minimum")


def check_liquidation(engine: Engine, account: Account, leg: str, price: Decimal) -> None:
    """Checks that a limit price is better than the liquidation price of the held position."""
    position = account.positions.get(leg)
    if position is None or not position.size:
        return
    liquidation = engine.liquidation_price(account, position)
    if liquidation is not None and (price - liquidation) * position.sign <= 0:
        raise Refused(110040, "The order will trigger a forced liquidation, please resubmit the order")


def check_levels(
    instrument: Instrument, side: str, base: Decimal, take_profit: Decimal | None, stop_loss: Decimal | None
) -> None:
    """Raises `Refused` unless the levels are valid stops for a position of `side` entered at `base`."""
    for name, level, above in (("TakeProfit", take_profit, side == BUY), ("StopLoss", stop_loss, side != BUY)):
        if not level:
            continue
        if level < 0 or level % instrument.price_step:
            raise Refused(10001, f"params error: {name} invalid")
        if above and level <= base:
            raise Refused(10001, f"{name}:{level} set for {side} position should be higher than base_price:{base}")
        if not above and level >= base:
            raise Refused(10001, f"{name}:{level} set for {side} position should be lower than base_price:{base}")


def check_trigger(engine: Engine, symbol: str, trigger: Decimal, direction: int, trigger_by: str) -> None:
    """Checks that a trigger is ahead of its reference price: above it for a rise (1), below it for a fall (2)."""
    now = engine.price_by(symbol, trigger_by)
    if direction == 1 and trigger <= now:
        raise Refused(110092, f"expect Rising, but trigger_price[{trigger}] <= current[{now}]")
    if direction == 2 and trigger >= now:
        raise Refused(110093, f"expect Falling, but trigger_price[{trigger}] >= current[{now}]")
