"""Requests about positions and accounts: leverage, modes, stops of a position."""

from dataclasses import dataclass
from decimal import Decimal

from exchange_simulator.engine import price_moves, stops
from exchange_simulator.engine.account import Account, tier_of
from exchange_simulator.engine.checks import check_levels
from exchange_simulator.engine.model import BUY, ZERO, Order, Refused
from exchange_simulator.engine.state import Engine

MARGIN_MODES = ("REGULAR_MARGIN", "ISOLATED_MARGIN", "PORTFOLIO_MARGIN")


@dataclass(frozen=True, slots=True)
class TradingStop:
    """A request of `position/trading-stop`; None leaves a stop as it is, 0 clears it."""

    symbol: str
    mode: str = "Full"
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    trailing_stop: Decimal | None = None
    active_price: Decimal | None = None
    tp_trigger_by: str = ""
    sl_trigger_by: str = ""
    tp_size: Decimal | None = None
    sl_size: Decimal | None = None
    tp_order_type: str = "Market"
    sl_order_type: str = "Market"
    tp_limit_price: Decimal | None = None
    sl_limit_price: Decimal | None = None


def set_leverage(engine: Engine, account: Account, symbol: str, leverage: Decimal) -> None:
    """Sets the leverage of a symbol; a higher need of margin must be covered."""
    instrument = engine.instruments[symbol]
    if not instrument.min_leverage <= leverage <= instrument.max_leverage or leverage % instrument.leverage_step:
        raise Refused(110013, "cannot set leverage due to risk limit level")
    position = account.position(symbol)
    if position.leverage == leverage:
        raise Refused(110043, "leverage not modified")
    tier = tier_of(instrument, abs(position.size) * engine.books[symbol].mark)
    if leverage > tier.max_leverage:
        raise Refused(110013, "cannot set leverage due to risk limit level")
    before = position.leverage
    position.leverage = leverage
    if engine.equity(account) < engine.initial_margin(account) + engine.orders_margin(account) and leverage < before:
        position.leverage = before
        raise Refused(110012, "Insufficient available balance")
    engine.tell_position(account, symbol)
    engine.tell_wallet(account)


def set_margin_mode(engine: Engine, account: Account, mode: str) -> None:
    """Cross margin is the mode of this exchange: asking for it is answered as not modified, another is refused."""
    if mode not in MARGIN_MODES:
        raise Refused(10001, "params error: setMarginMode invalid")
    if mode == account.margin_mode:
        raise Refused(110026, "Cross/isolated margin mode is not modified")
    raise Refused(3200403, f"{mode} is not available on this exchange, only REGULAR_MARGIN is")


def switch_mode(engine: Engine, account: Account, symbols: tuple[str, ...], mode: int) -> None:
    """One-way mode (0) is the mode of this exchange; hedge mode (3) is refused."""
    for symbol in symbols:
        if account.size(symbol):
            raise Refused(110024, "You have an existing position, so the position mode cannot be switched.")
        if account.by_symbol.get(symbol):
            raise Refused(110028, "You have existing open orders, so the position mode cannot be switched.")
    if mode == 0:
        raise Refused(110025, "Position mode is not modified")
    raise Refused(110029, "The current trading pair does not support hedge mode")


def set_trading_stop(engine: Engine, account: Account, request: TradingStop) -> None:
    """Sets, moves or clears the stops of an open position."""
    symbol = request.symbol
    instrument, book = engine.instruments[symbol], engine.books[symbol]
    position = account.position(symbol)
    if not position.size:
        raise Refused(10001, "can not set tp/sl/ts for zero position")
    base = book.last
    check_levels(instrument, position.side, base, request.take_profit or None, request.stop_loss or None)
    if request.mode == "Partial":
        _partial(engine, account, request)
        return
    if request.tp_order_type == "Limit" or request.sl_order_type == "Limit":
        raise Refused(110057, "The TP/SL params are incorrect: limit TP/SL needs tpslMode Partial")
    changed = False
    if request.trailing_stop is not None:
        _check_trailing(engine, account, request)
        active = request.active_price or None
        changed |= stops.set_trailing(engine, account, position, request.trailing_stop, active)
    for kind, price, trigger_by in (
        ("TakeProfit", request.take_profit, request.tp_trigger_by),
        ("StopLoss", request.stop_loss, request.sl_trigger_by),
    ):
        if price is not None:
            changed |= stops.set_full(engine, account, position, kind, price, trigger_by)
    if not changed:
        raise Refused(34040, "not modified")
    engine.tell_position(account, symbol)
    price_moves.run_due(engine)


def _check_trailing(engine: Engine, account: Account, request: TradingStop) -> None:
    instrument, book = engine.instruments[request.symbol], engine.books[request.symbol]
    distance, active = request.trailing_stop or ZERO, request.active_price or ZERO
    if distance < 0 or distance % instrument.price_step or active < 0 or active % instrument.price_step:
        raise Refused(10001, "params error: trailingStop invalid")
    if not active:
        return
    long = account.position(request.symbol).side == BUY
    if long and active <= book.last:
        raise Refused(10001, f"TrailingProfit:{active} set for Buy position should be higher than last:{book.last}")
    if not long and active >= book.last:
        raise Refused(10001, f"TrailingProfit:{active} set for Sell position should be lower than last:{book.last}")


def _partial(engine: Engine, account: Account, request: TradingStop) -> None:
    """Adds a partial take profit and/or stop loss."""
    position = account.position(request.symbol)
    instrument = engine.instruments[request.symbol]
    take_profit, stop_loss = request.take_profit or None, request.stop_loss or None
    if take_profit is None and stop_loss is None:
        raise Refused(34040, "not modified")
    if request.tp_size is not None and request.sl_size is not None and request.tp_size != request.sl_size:
        raise Refused(10001, "params error: tpSize and slSize must be equal")
    size = request.tp_size or request.sl_size or abs(position.size)
    if size <= 0 or size % instrument.qty_step or size > abs(position.size):
        raise Refused(110058, "Insufficient number of remaining position size to set take profit and stop loss")
    source = Order(
        order_id="",
        link_id="",
        uid=account.uid,
        symbol=request.symbol,
        side=position.side,
        order_type="Market",
        price=ZERO,
        qty=size,
        time_in_force="IOC",
        created_ms=engine.now_ms,
        updated_ms=engine.now_ms,
        serial=0,
        take_profit=take_profit,
        stop_loss=stop_loss,
        tp_trigger_by=request.tp_trigger_by,
        sl_trigger_by=request.sl_trigger_by,
        tp_order_type=request.tp_order_type,
        sl_order_type=request.sl_order_type,
        tp_limit_price=request.tp_limit_price,
        sl_limit_price=request.sl_limit_price,
    )
    stops.partial_pair(engine, account, position, source, size)
    engine.tell_position(account, request.symbol)
    price_moves.run_due(engine)
