"""Liquidation and auto-deleveraging.

Isolated margin: the same for a single position, with its own margin in place of the account's equity.

Cross margin: when an account's equity falls to its maintenance margin, all its open orders are cancelled. Positions
above their lowest risk tier are then reduced to the tier below, one order at a time, largest margin first, until the
equity covers the maintenance margin again (Bybit's laddered liquidation). When no position is above its lowest tier, or
the book cannot fill such an order completely, every position is taken over at its bankruptcy price: the price at which
closing it, fee included, uses up its share of the remaining equity. The balance then ends at or slightly above zero,
never below: a deficit after a gap is covered by the insurance fund and, when that is empty, by holders of the other
side, who are deleveraged at the bankruptcy price.
"""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from exchange_simulator.engine import matching
from exchange_simulator.engine.account import Account
from exchange_simulator.engine.closing_order import closing_order
from exchange_simulator.engine.model import BUY, SELL, ZERO, Liquidated, Order, Position, Refused
from exchange_simulator.engine.state import Engine


def check(engine: Engine, account: Account) -> None:
    """Liquidates an account when its equity does not cover its maintenance margin; isolated positions individually."""
    if account.isolated:
        for position in account.held():
            if position.size and engine.spare(account, position) <= 0:
                liquidate(engine, account, position)
    elif account.held() and engine.equity(account) <= engine.maintenance(account):
        liquidate(engine, account)


def liquidate(engine: Engine, account: Account, position: Position | None = None) -> None:
    """Reduces positions tier by tier while that helps, then takes over the rest. In isolated margin only
    `position` is liquidated.
    """
    alone = position if account.isolated else None
    _cancel_all(engine, account, alone)
    while (highest := _highest(engine, account, alone)) is not None:
        if not _reduce(engine, account, highest):
            break
        if _covered(engine, account, alone):
            return
    take_over(engine, account, alone)


def _covered(engine: Engine, account: Account, alone: Position | None) -> bool:
    if alone is not None:
        return not alone.size or engine.spare(account, alone) > 0
    return engine.equity(account) > engine.maintenance(account)


def _cancel_all(engine: Engine, account: Account, alone: Position | None = None) -> None:
    for order in list(account.orders.values()):
        if alone is not None and order.leg != alone.leg:
            continue
        status = "Deactivated" if order.waiting else "Cancelled"
        engine.end_order(account, order, status, cancel_type="CancelAllBeforeLiq")


def _highest(engine: Engine, account: Account, alone: Position | None) -> Position | None:
    """The position above its lowest tier with the largest maintenance margin."""
    above = [
        position
        for position in ([alone] if alone is not None else account.held())
        if engine.value(position) > engine.instruments[position.symbol].risk_tiers[0].limit_value
    ]
    return max(above, key=lambda p: (engine.position_maintenance(p, account.taker_fee), p.leg), default=None)


def _reduce(engine: Engine, account: Account, position: Position) -> bool:
    """Reduces a position to the next lower tier with one fill-or-kill order; returns whether it filled."""
    instrument, book = engine.instruments[position.symbol], engine.books[position.symbol]
    value, step = engine.value(position), instrument.qty_step
    limit = max(tier.limit_value for tier in instrument.risk_tiers if tier.limit_value < value)
    qty = min(((value - limit) / book.mark / step).to_integral_value(rounding=ROUND_CEILING) * step, abs(position.size))
    side = SELL if position.size > 0 else BUY
    bound = matching.market_bound(book, side)
    order = system_order(engine, account, position, qty, bound, "CreateByLiq", "FOK")
    matching.fill_taker(engine, account, order)
    return order.status == "Filled"


def take_over(engine: Engine, account: Account, alone: Position | None = None) -> None:
    """Cancels all orders and closes every position, or only `alone`, at its bankruptcy price."""
    _cancel_all(engine, account, alone)
    if account.isolated:
        for position in [alone] if alone is not None else account.held():
            if position.size:
                mark = engine.books[position.symbol].mark
                _bust(engine, account, position, engine.isolated_margin(account, position) + position.unrealised(mark))
        return
    positions = account.held()
    while positions:
        total = sum((abs(p.size) * engine.books[p.symbol].mark for p in positions), ZERO)
        position = positions.pop(0)
        part = abs(position.size) * engine.books[position.symbol].mark / total
        _bust(engine, account, position, engine.equity(account) * part)


def _bust(engine: Engine, account: Account, position: Position, cover: Decimal) -> None:
    symbol, size, mark = position.symbol, abs(position.size), engine.books[position.symbol].mark
    tick = engine.instruments[symbol].tick_size
    long = position.size > 0
    if long:
        price = (size * mark - cover) / (size * (1 - account.taker_fee))
    else:
        price = (size * mark + cover) / (size * (1 + account.taker_fee))
    rounding = ROUND_CEILING if long else ROUND_FLOOR
    price = max((price / tick).to_integral_value(rounding=rounding) * tick, tick)
    side = SELL if long else BUY
    gain = (mark - price) * size if long else (price - mark) * size
    engine.insurance += gain
    order = system_order(engine, account, position, size, price, "CreateByTakeOver_PassThrough")
    matching.settle(engine, account, order, [(price, size)], is_maker=False, exec_type="BustTrade")
    engine.events.append(
        Liquidated(symbol=symbol, side=BUY if long else SELL, qty=size, price=price, time_ms=engine.now_ms)
    )
    if gain < 0 and engine.insurance < 0:
        engine.insurance -= gain * deleverage(engine, symbol, side, size, price) / size


def deleverage(engine: Engine, symbol: str, side: str, qty: Decimal, price: Decimal) -> Decimal:
    """Closes up to `qty` of positions on the other side of a `side` closing order, best ranked
    first; returns how much.
    """
    sign = 1 if side == BUY else -1
    mark = engine.books[symbol].mark
    found = [
        (account, position)
        for account in engine.books[symbol].holders.values()
        for position in account.legs(symbol)
        if position.size * sign > 0
    ]

    def rank(each: tuple[Account, Position]) -> Decimal:
        position = each[1]
        return position.unrealised(mark) / position.entry_value * position.leverage

    left = qty
    for account, position in sorted(found, key=rank, reverse=True):
        if left <= 0:
            break
        part = min(left, abs(position.size))
        close_by_adl(engine, account, position, part, price)
        left -= part
    return qty - left


def close_by_adl(engine: Engine, account: Account, position: Position, qty: Decimal, price: Decimal) -> None:
    """Auto-deleverages `qty` of a position at a price."""
    if not position.size:
        raise Refused(110017, "current position is zero")
    part = min(qty, abs(position.size))
    for order in account.symbol_orders(position.symbol):
        if not order.waiting and order.idx == position.idx:
            engine.end_order(account, order, "Cancelled", cancel_type="CancelAllBeforeAdl")
    order = system_order(engine, account, position, part, price, "CreateByAdl_PassThrough")
    matching.settle(engine, account, order, [(price, part)], is_maker=False, exec_type="AdlTrade")


def system_order(
    engine: Engine,
    account: Account,
    position: Position,
    qty: Decimal,
    price: Decimal,
    create_type: str,
    time_in_force: str = "IOC",
) -> Order:
    """A closing order created by the exchange itself, live on the account until it is settled."""
    order = closing_order(
        *(engine, account, position, qty), price=price, time_in_force=time_in_force, create_type=create_type
    )
    account.add(order)
    return order
