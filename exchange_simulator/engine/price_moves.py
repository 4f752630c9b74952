"""Price moves. Between two points a price passes every waiting level in order; a jump hits them all at once.

A stop passed on the way fires at its own trigger price; one hit by a jump fires at the price after the jump. A resting
limit order fills at its own price either way. An account whose equity falls to its maintenance margin on the way is
liquidated there; after a jump, liquidation precedes its stops. The mark price follows the last price unless it was set.
"""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from exchange_simulator.engine import liquidation, matching
from exchange_simulator.engine.account import Account, order_margin
from exchange_simulator.engine.book import Best, Book
from exchange_simulator.engine.model import ZERO, Order, Position
from exchange_simulator.engine.state import Engine

CANCEL_PARTNER = {
    "PartialStopLoss": "CancelByOCOTpCanceledBySlTriggered",
    "PartialTakeProfit": "CancelByOCOSlCanceledByTpTriggered",
}


def move(engine: Engine, symbol: str, target: Decimal, jump: bool = False) -> None:
    """Moves the price of a symbol to `target` through every level in between."""
    book = engine.books[symbol]
    if not book.last or book.quiet:
        book.set_last(target)
        return
    if jump:
        up = target > book.last
        book.set_last(target)
        for account in list(book.holders.values()):
            if not _beyond_reach(engine, book, account, target):
                liquidation.check(engine, account)
        while _fire_next(engine, book, target, up, jumped=True):
            pass
        _follow(book)
    elif target > book.last:
        while _fire_next(engine, book, target, up=True, jumped=False):
            pass
        book.set_last(target)
        _follow(book)
    elif target < book.last:
        while _fire_next(engine, book, target, up=False, jumped=False):
            pass
        book.set_last(target)
        _follow(book)
    else:
        book.set_last(target)
    if book.index_waiting:
        _fire_index(engine, book)
    run_due(engine)


def traded(engine: Engine, symbol: str, price: Decimal) -> None:
    """A recorded trade. Whatever waits for this price fires, wherever the last one was: recorded trades go to and fro across
    the spread. Stops fire at this price, as after a jump.
    """
    book = engine.books[symbol]
    if not book.last or book.quiet:
        book.set_last(price)
        return
    book.set_last(price)
    for account in list(book.holders.values()):
        if not _beyond_reach(engine, book, account, price):
            liquidation.check(engine, account)
    for up in (False, True):
        while _fire_next(engine, book, price, up, jumped=True):
            pass
    _follow(book)
    if book.index_waiting:
        _fire_index(engine, book)
    run_due(engine)


def quoted(engine: Engine, symbol: str, best: Best) -> None:
    """A recorded best bid and offer. Resting limit orders that it reaches fill at their own price."""
    book = engine.books[symbol]
    book.best = best
    if not (book.falling or book.rising):
        return
    for order in book.crossed():
        if order.open:
            matching.fill_maker(engine, engine.accounts[order.uid], order, through=True)
    run_due(engine)


def _fire_next(engine: Engine, book: Book, target: Decimal, up: bool, jumped: bool) -> bool:
    """Fires the nearest waiting level on the way to `target`; returns False when there is none."""
    symbol = book.instrument.symbol
    found = book.next_rising() if up else book.next_falling()
    level: Decimal | None = None
    order: Order | None = None
    if found is not None and (found[0] <= target if up else found[0] >= target):
        level, order = found
    for trailing in book.trailing.values():
        at = _trailing_level(trailing, up)
        if at is None or (at > target if up else at < target):
            continue
        if level is None or (at < level if up else at > level):
            level, order = at, trailing
    account: Account | None = None
    position: Position | None = None
    if book.holders and book.mark_follows:
        for holder in book.holders.values():
            for leg in holder.legs(symbol):
                at = _liquidation_level(engine, book, holder, leg, target, up)
                if at is None or (at > target if up else at < target):
                    continue
                if level is None or (at < level if up else at > level):
                    level, order, account, position = at, None, holder, leg
    if level is None:
        return False
    if not jumped:
        reached = max(level, book.last) if up else min(level, book.last)
        book.set_last(reached)
        _follow(book)
    if account is not None:
        liquidation.liquidate(engine, account, position)
    elif order is not None:
        _fire(engine, order, through=level != target or jumped)
    run_due(engine)
    return True


def _trailing_level(order: Order, up: bool) -> Decimal | None:
    """Where a trailing stop fires when the price moves this way; None for the favourable way or before activation."""
    if order.trail_extreme is None or order.trail_distance is None:
        return None
    if order.trigger_direction == 1:  # protects a long: fires on a falling price
        return None if up else order.trail_extreme - order.trail_distance
    return order.trail_extreme + order.trail_distance if up else None


def _beyond_reach(engine: Engine, book: Book, account: Account, target: Decimal) -> bool:
    """True when a move to `target` certainly leaves the account above its maintenance margin."""
    low, high = engine.safe_between(account, book.instrument.symbol)
    if low < target / book.instrument.tick_size < high:
        return True
    account.safe.clear()
    return False


def _liquidation_level(
    engine: Engine, book: Book, account: Account, position: Position, target: Decimal, up: bool
) -> Decimal | None:
    if not position.size or (position.size > 0) == up:
        return None
    if _beyond_reach(engine, book, account, target):
        return None
    price = engine.liquidation_price(account, position)
    if price is None:
        return None
    tick = book.instrument.tick_size
    rounding = ROUND_CEILING if up else ROUND_FLOOR
    return (price / tick).to_integral_value(rounding=rounding) * tick


def set_mark_price(engine: Engine, symbol: str, price: Decimal | None) -> None:
    """Fixes the mark price of a symbol at `price`; None lets it follow the last price again.

    Accounts whose equity no longer covers their maintenance margin are liquidated, then orders triggered by the mark
    price fire.
    """
    book = engine.books[symbol]
    if book.mark_follows != (price is None):
        book.mark_follows = price is None
        waiting = [
            order
            for account in engine.accounts.values()
            for order in account.symbol_orders(symbol)
            if order.waiting and order.trigger_by == "MarkPrice" and order.trail_distance is None
        ]
    else:
        waiting = list(book.mark_waiting.values())
    book.mark = book.last if price is None else price
    for account in list(book.holders.values()):
        account.safe.clear()
        liquidation.check(engine, account)
    for order in waiting:
        if order.open and order.waiting:
            book.forget(order)
            if _met(order, book.mark):
                trigger(engine, engine.accounts[order.uid], order)
            else:
                book.wait_trigger(order)
    run_due(engine)


def _met(order: Order, now: Decimal) -> bool:
    """Whether a price triggers a conditional order."""
    price = order.trigger_price
    return price is not None and (now >= price if order.trigger_direction == 1 else now <= price)


def _follow(book: Book) -> None:
    """Updates trailing stops: activated at their activation price, then trailing the best price since."""
    for order in book.trailing.values():
        long = order.trigger_direction == 1
        if order.trail_extreme is None:
            start = order.trigger_price
            if start is None or (book.last >= start if long else book.last <= start):
                order.trail_extreme = book.last
        elif book.last > order.trail_extreme if long else book.last < order.trail_extreme:
            order.trail_extreme = book.last


def _fire(engine: Engine, order: Order, through: bool) -> None:
    account = engine.accounts[order.uid]
    if order.waiting:
        trigger(engine, account, order)
    else:
        matching.fill_maker(engine, account, order, through)


def _fire_index(engine: Engine, book: Book) -> None:
    index = engine.index_of(book.instrument.symbol)
    for order in list(book.index_waiting.values()):
        if _met(order, index):
            trigger(engine, engine.accounts[order.uid], order)


def run_due(engine: Engine) -> None:
    """Triggers conditional orders whose trigger price was already met when they were placed, then checks the margin of
    accounts whose fills were away from the mark price.
    """
    while engine.due or engine.margin_check_queue:
        while engine.due:
            order = engine.due.pop(0)
            if order.open and order.waiting:
                trigger(engine, engine.accounts[order.uid], order)
        if engine.margin_check_queue:
            _, account = engine.margin_check_queue.popitem()
            liquidation.check(engine, account)


def trigger(engine: Engine, account: Account, order: Order) -> None:
    """Turns a conditional order into a live one: Triggered, then matched; cancelled when margin is insufficient."""
    book = engine.books[order.symbol]
    book.forget(order)
    order.updated_ms = engine.now_ms
    order.status = "Triggered"
    engine.tell_order(order)
    partner = account.orders.get(order.partner_id) if order.partner_id else None
    if partner is not None and partner.open:
        engine.end_order(account, partner, "Deactivated", cancel_type=CANCEL_PARTNER[order.stop_order_type])
    if order.order_type == "Market":
        order.price = matching.market_bound(book, order.side)
    if order.close_on_trigger and order.stop_order_type in ("TakeProfit", "StopLoss", "TrailingStop"):
        order.leaves = abs(account.size(order.symbol, order.idx))
        order.qty = order.cum_qty + order.leaves
    if not order.reduce_only and needed_margin(engine, account, order) > engine.available(account, order.coin):
        # Its status uses no margin yet, so ending it must not reduce the margin sums.
        order.status = "Untriggered"
        engine.end_order(account, order, "Cancelled", reason="EC_Others")
        return
    order.status = "New"
    account.reserve(order)
    matching.fill_taker(engine, account, order)


def needed_margin(engine: Engine, account: Account, order: Order) -> Decimal:
    """Margin an order would add, opening and closing fees included. Reducing the position needs none."""
    if order.order_type == "Limit":
        already = order_margin(account, order.leg)
        with account.trial(order):
            return order_margin(account, order.leg) - already
    size = account.size(order.symbol, order.idx)
    opening = order.leaves - max(-size * order.sign, ZERO)
    if opening <= 0:
        return ZERO
    book = engine.books[order.symbol]
    price = book.slipped(book.ask if order.sign > 0 else book.bid, order.side)
    return opening * price * (1 / account.leverage(order.symbol, order.idx) + 2 * account.taker_fee)
