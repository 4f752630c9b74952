"""Order requests: create and cancel, with the exchange's checks and codes."""

import re
from dataclasses import dataclass, replace
from decimal import Decimal

from exchange_simulator.engine import matching, price_moves, stops
from exchange_simulator.engine.account import Account, tier_of
from exchange_simulator.engine.book import Book
from exchange_simulator.engine.checks import check_levels, check_liquidation, check_price, check_trigger
from exchange_simulator.engine.model import ZERO, Order, Refused, Rules, leg_of
from exchange_simulator.engine.state import Engine
from exchange_simulator.market import sessions
from exchange_simulator.market.model import Instrument

LINK_ID = re.compile(r"[A-Za-z0-9_-]{1,36}\Z")


@dataclass(frozen=True, slots=True)
class NewOrder:
    """A request of `order/create`: types are checked, rules are not yet."""

    symbol: str
    side: str
    order_type: str
    qty: Decimal
    price: Decimal | None = None
    time_in_force: str = ""
    link_id: str = ""
    reduce_only: bool = False
    close_on_trigger: bool = False
    trigger_price: Decimal | None = None
    trigger_direction: int = 0
    trigger_by: str = ""
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    tp_trigger_by: str = ""
    sl_trigger_by: str = ""
    tpsl_mode: str = ""
    tp_order_type: str = "Market"
    sl_order_type: str = "Market"
    tp_limit_price: Decimal | None = None
    sl_limit_price: Decimal | None = None
    smp_type: str = "None"
    slippage_type: str = ""
    slippage: Decimal | None = None
    idx: int = 0  # positionIdx


def create(engine: Engine, account: Account, new: NewOrder) -> Order:
    """Accepts an order and matches it. Raises `Refused`; a later failure shows in the order's state.

    A reduce-only order above the maximum size is split into consecutive parts; the first keeps the client's id and is
    returned.
    """
    check_idx(account, new.symbol, new.idx)
    if new.idx and (new.idx == 1) == (new.side == "Sell") and not new.reduce_only:
        new = replace(new, reduce_only=True)  # in hedge mode an order on the opposite side of a leg can only close it
    held = abs(account.size(new.symbol, new.idx))
    first = _create(engine, account, new)
    left = min(new.qty, held) - first.qty if new.reduce_only and new.trigger_price is None else ZERO
    while left > 0 and account.size(new.symbol, new.idx) * first.sign < 0:
        try:
            left -= _create(engine, account, replace(new, qty=left, link_id="")).qty
        except Refused:
            break
    return first


def check_idx(account: Account, symbol: str, idx: int) -> None:
    """Checks `positionIdx`: 0 in one-way mode, the leg in hedge mode."""
    if bool(idx) != (symbol in account.hedged):
        raise Refused(10001, "position idx not match position mode")


def _check_session(engine: Engine, new: NewOrder) -> None:
    """Refuses what a closed market of the underlying does not take; a conditional order may wait through it."""
    if sessions.is_open(new.symbol, engine.now_ms):
        return
    if sessions.is_weekend(new.symbol, engine.now_ms) and not new.reduce_only and not new.close_on_trigger:
        raise Refused(110023, "This contract only supports position closing via reduceOnly orders")
    if new.order_type == "Market" and new.trigger_price is None:
        raise Refused(110065, "No trading is allowed at the current time")


def _create(engine: Engine, account: Account, new: NewOrder) -> Order:
    instrument = engine.instruments.get(new.symbol)
    if instrument is None:
        raise Refused(10001, "params error: symbol invalid " + new.symbol)
    book = engine.books[new.symbol]
    if not book.last:
        raise Refused(110118, "This contract has no market price yet")
    if instrument.pre_market and account.demo:
        raise Refused(110100, "Pre-market contracts are not traded in demo trading")
    if new.symbol in engine.closing_only and not new.reduce_only and not new.close_on_trigger:
        raise Refused(110023, "This contract only supports position closing via reduceOnly orders")
    if instrument.delivery_ms and engine.now_ms >= instrument.delivery_ms:
        raise Refused(110074, "This contract is not live")
    _check_session(engine, new)
    if new.link_id and not LINK_ID.match(new.link_id):
        raise Refused(10001, "params error: OrderLinkId is invalid")
    qty = _quantity(engine, account, instrument, new)
    tolerance = _tolerance(book, new)
    if new.order_type == "Limit":
        if new.price is None or new.price <= 0:
            raise Refused(10001, "params error: Price invalid")
        price = new.price
        check_price(instrument, book, new.side, price, conditional=new.trigger_price is not None)
        if new.trigger_price is None:
            check_liquidation(engine, account, leg_of(new.symbol, new.idx), price)
    else:
        price = matching.market_bound(book, new.side, tolerance)
    _check_value(instrument, book, new, qty, price)
    _check_attached(engine, instrument, book, new, price)
    conditional = new.trigger_price is not None
    _check_counts(engine.rules, account, new.symbol, conditional)
    engine.serial += 1
    order = Order(
        order_id=engine.ids.new(f"{account.uid}/order"),
        link_id=new.link_id,
        uid=account.uid,
        symbol=new.symbol,
        side=new.side,
        order_type=new.order_type,
        price=price,
        qty=qty,
        leaves=qty,
        time_in_force="IOC" if new.order_type == "Market" else new.time_in_force or "GTC",
        created_ms=engine.now_ms,
        updated_ms=engine.now_ms,
        serial=engine.serial,
        take_profit=new.take_profit or None,
        stop_loss=new.stop_loss or None,
        tp_trigger_by=(new.tp_trigger_by or "LastPrice") if new.take_profit else "",
        sl_trigger_by=(new.sl_trigger_by or "LastPrice") if new.stop_loss else "",
        tpsl_mode=(new.tpsl_mode or "Full") if new.take_profit or new.stop_loss else "",
        tp_order_type=new.tp_order_type,
        sl_order_type=new.sl_order_type,
        tp_limit_price=new.tp_limit_price,
        sl_limit_price=new.sl_limit_price,
        reduce_only=new.reduce_only or new.close_on_trigger,
        close_on_trigger=new.close_on_trigger,
        smp_type=new.smp_type or "None",
        slippage_type=new.slippage_type or "UNKNOWN",
        slippage=str(new.slippage) if new.slippage is not None else "",
        last_price_on_created=book.last,
        idx=new.idx,
        coin=instrument.settle_coin,
    )
    if conditional:
        _place_conditional(engine, account, new, order)
    else:
        if order.reduce_only and account.size(order.symbol, order.idx) * order.sign >= 0:
            raise Refused(110017, "current position is zero, cannot fix reduce-only order qty")
        if not order.reduce_only:
            _check_risk(engine, account, instrument, order)
            if price_moves.needed_margin(engine, account, order) > engine.available(account, order.coin):
                raise Refused(110007, "ab not enough for new order")
        account.add(order)
        reason = engine.rejects(order)
        if reason:
            engine.end_order(account, order, "Rejected", reason=reason)
        else:
            matching.fill_taker(engine, account, order)
            price_moves.run_due(engine)
    engine.tell_position(account, order.symbol)
    return order


def _quantity(engine: Engine, account: Account, instrument: Instrument, new: NewOrder) -> Decimal:
    """The quantity, checked against the lot filter; "0" with reduceOnly and closeOnTrigger is the whole position."""
    largest = instrument.max_mkt_order_qty if new.order_type == "Market" else instrument.max_order_qty
    if new.qty == 0 and new.reduce_only and new.close_on_trigger:
        held = abs(account.size(new.symbol, new.idx))
        if not held:
            raise Refused(110017, "current position is zero, cannot fix reduce-only order qty")
        return min(held, largest)
    if new.qty <= 0 or new.qty % instrument.qty_step:
        raise Refused(10001, "Qty invalid")
    if new.qty < instrument.min_order_qty:
        raise Refused(10001, "The number of contracts exceeds minimum limit allowed")
    if new.qty > largest:
        if not new.reduce_only:
            raise Refused(10001, "The number of contracts exceeds maximum limit allowed: too large")
        return largest
    return new.qty


def _check_value(instrument: Instrument, book: Book, new: NewOrder, qty: Decimal, price: Decimal) -> None:
    value = qty * (price if new.order_type == "Limit" else new.trigger_price or book.last)
    if not new.reduce_only and not new.close_on_trigger and value < instrument.min_notional:
        raise Refused(
            110094, f"Order does not meet minimum order value {instrument.min_notional}{instrument.settle_coin}"
        )


def _tolerance(book: Book, new: NewOrder) -> Decimal | None:
    if new.slippage is None and not new.slippage_type:
        return None
    if new.order_type != "Market" or new.trigger_price is not None:
        raise Refused(10001, "params error: slippageTolerance is for market orders that wait for nothing")
    if new.slippage is None or not new.slippage_type:
        raise Refused(10001, "params error: slippageTolerance and slippageToleranceType go together")
    if new.slippage_type == "TickSize":
        if not 1 <= new.slippage <= 10_000 or new.slippage % 1:
            raise Refused(10001, "params error: slippageTolerance must be 1 to 10000 whole ticks")
        return new.slippage * book.instrument.tick_size
    if not Decimal("0.01") <= new.slippage <= 10:
        raise Refused(10001, "params error: slippageTolerance must be 0.01 to 10 percent")
    return book.last * new.slippage / 100


def _check_attached(engine: Engine, instrument: Instrument, book: Book, new: NewOrder, price: Decimal) -> None:
    """Checks take profit and stop loss of an order: on the tick and on the correct side of its price."""
    if not new.take_profit and not new.stop_loss:
        return
    if new.reduce_only:
        raise Refused(10001, "params error: takeProfit and stopLoss are not allowed with reduceOnly")
    base = price if new.order_type == "Limit" else new.trigger_price or book.last
    check_levels(instrument, new.side, base, new.take_profit, new.stop_loss)
    limited = new.tp_order_type == "Limit" or new.sl_order_type == "Limit"
    if limited and (new.tpsl_mode or "Full") != "Partial":
        raise Refused(110057, "The TP/SL params are incorrect: limit TP/SL needs tpslMode Partial")


def _check_counts(rules: Rules, account: Account, symbol: str, conditional: bool) -> None:
    """Limits the number of open orders per kind and symbol; stops of a position do not count."""
    count = 0
    for order in account.by_symbol.get(symbol, {}).values():
        if order.waiting == conditional and not (conditional and order.stop_order_type != "Stop"):
            count += 1
    if conditional and count >= rules.max_conditional_orders:
        raise Refused(110009, "The number of stop orders exceeds maximum limit allowed")
    if not conditional and count >= rules.max_open_orders:
        raise Refused(110020, f"Not allowed to have more than {rules.max_open_orders} active orders")


def _check_risk(engine: Engine, account: Account, instrument: Instrument, order: Order) -> None:
    """Checks that the position an order could lead to stays in a tier that allows the leverage."""
    position = account.position(order.symbol, order.idx)
    after = abs(position.size + order.leaves * order.sign)
    if after <= abs(position.size):
        return
    tier = tier_of(instrument, after * engine.books[order.symbol].mark)
    last = instrument.risk_tiers[-1]
    if position.leverage > tier.max_leverage or after * engine.books[order.symbol].mark > last.limit_value:
        raise Refused(110090, "Position may exceed the max. limit. Please adjust the leverage to continue")


def _place_conditional(engine: Engine, account: Account, new: NewOrder, order: Order) -> None:
    trigger = new.trigger_price or ZERO
    instrument = engine.instruments[new.symbol]
    if trigger <= 0 or trigger % instrument.price_step:
        raise Refused(10001, "params error: TriggerPrice invalid")
    if new.trigger_direction not in (1, 2):
        raise Refused(10001, "params error: TriggerDirection invalid")
    check_trigger(engine, new.symbol, trigger, new.trigger_direction, new.trigger_by)
    order.status = "Untriggered"
    order.stop_order_type = "Stop"
    order.create_type = "CreateByUser"
    order.trigger_price = trigger
    order.trigger_direction = new.trigger_direction
    order.trigger_by = new.trigger_by or "LastPrice"
    account.add(order)
    stops.arm(engine, order)


def find(account: Account, symbol: str, order_id: str, link_id: str) -> Order | None:
    """Finds an open order by its id (which takes precedence) or link id."""
    order = account.orders.get(order_id) if order_id else account.links.get(link_id)
    return order if order is not None and order.symbol == symbol else None


def cancel(engine: Engine, account: Account, order: Order) -> None:
    """Cancels an open order at its owner's request."""
    cancel_many(engine, account, [order])


def cancel_many(engine: Engine, account: Account, orders: list[Order], cancel_type: str = "CancelByUser") -> None:
    """Cancels open orders; conditional ones end as Deactivated."""
    symbols: dict[str, None] = {}
    for order in orders:
        if order.open:
            engine.end_order(account, order, "Deactivated" if order.waiting else "Cancelled", cancel_type=cancel_type)
            symbols[order.symbol] = None
    for symbol in symbols:
        engine.tell_position(account, symbol)
