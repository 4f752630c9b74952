"""Position and account requests: leverage, modes, stops of a position."""

from dataclasses import dataclass
from decimal import Decimal

from exchange_simulator.engine import price_moves, stops
from exchange_simulator.engine.account import Account, tier_of
from exchange_simulator.engine.checks import check_levels
from exchange_simulator.engine.model import BUY, ZERO, Order, Position, Refused
from exchange_simulator.engine.orders import check_idx
from exchange_simulator.engine.state import Engine

HEDGE = 3
MARGIN_MODES = ("REGULAR_MARGIN", "ISOLATED_MARGIN", "PORTFOLIO_MARGIN")


@dataclass(frozen=True, slots=True)
class TradingStop:
    """A request of `position/trading-stop`; None leaves a stop unchanged, 0 clears it."""

    symbol: str
    idx: int = 0
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


def set_leverage(
    engine: Engine, account: Account, symbol: str, leverage: Decimal, short_leverage: Decimal | None = None
) -> None:
    """Sets the leverage of a symbol; a higher margin requirement must be covered. The legs may differ
    (`short_leverage`) only in hedge mode with isolated margin.
    """
    instrument = engine.instruments[symbol]
    short = leverage if short_leverage is None else short_leverage
    if short != leverage and not (account.isolated and symbol in account.hedged):
        raise Refused(10001, "params error: buyLeverage and sellLeverage must be equal")
    for each in (leverage, short):
        if not instrument.min_leverage <= each <= instrument.max_leverage or each % instrument.leverage_step:
            raise Refused(110013, "cannot set leverage due to risk limit level")
    legs = [(position, short if position.idx == 2 else leverage) for position in account.legs(symbol)]
    if all(position.leverage == wanted for position, wanted in legs):
        raise Refused(110043, "leverage not modified")
    for position, wanted in legs:
        if wanted > tier_of(instrument, engine.value(position)).max_leverage:
            raise Refused(110013, "cannot set leverage due to risk limit level")
    before = [position.leverage for position, _ in legs]
    for position, wanted in legs:
        position.leverage = wanted
    lower = any(position.leverage < old for (position, _), old in zip(legs, before, strict=True))
    if lower and not _affordable(engine, account, symbol):
        for (position, _), old in zip(legs, before, strict=True):
            position.leverage = old
        raise Refused(110012, "Insufficient available balance")
    if account.isolated and any(position.size and engine.spare(account, position) <= 0 for position, _ in legs):
        for (position, _), old in zip(legs, before, strict=True):
            position.leverage = old
        raise Refused(110046, "The leverage would trigger liquidation")
    account.safe.clear()
    engine.tell_position(account, symbol)
    engine.tell_wallet(account)


def _affordable(engine: Engine, account: Account, symbol: str) -> bool:
    """Whether the account covers its margin; in isolated margin, that of the symbol's coin."""
    if account.isolated:
        return engine.free(account, engine.coin_of(symbol)) >= 0
    return engine.equity(account) >= engine.initial_margin(account) + engine.orders_margin(account)


def set_margin_mode(engine: Engine, account: Account, mode: str) -> None:
    """Sets cross or isolated margin for the whole account; no change when it is already set.

    Isolated margin requires each coin to cover its own positions and orders, and no position that it would liquidate.
    """
    if mode not in MARGIN_MODES:
        raise Refused(10001, "params error: setMarginMode invalid")
    if mode == account.margin_mode:
        return
    if mode == "PORTFOLIO_MARGIN":
        raise MarginModeRefused("portfolio margin is not available on this exchange")
    before = account.margin_mode
    account.margin_mode = mode
    for position in account.positions.values():
        position.added = ZERO
    coins = {engine.coin_of(position.symbol) for position in account.positions.values()}
    if account.isolated and any(engine.free(account, coin) < 0 for coin in coins):
        account.margin_mode = before
        raise MarginModeRefused("the balance does not cover the margin of positions and orders")
    if account.isolated and any(engine.spare(account, position) <= 0 for position in account.held()):
        account.margin_mode = before
        raise MarginModeRefused("a position would be liquidated at once")
    account.safe.clear()
    for symbol in sorted({position.symbol for position in account.held()}):
        engine.tell_position(account, symbol)
    engine.tell_wallet(account)


class MarginModeRefused(Refused):
    """The margin mode cannot be changed; the message is the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(3200403, reason)


def add_margin(engine: Engine, account: Account, symbol: str, idx: int, amount: Decimal) -> Position:
    """Adds margin to an isolated position (> 0) or withdraws some of the added margin (< 0)."""
    position = account.position(symbol, idx)
    if not account.isolated or not position.size:
        raise Refused(10001, "params error: margin belongs to a position that is open, in isolated margin mode")
    if not amount:
        raise Refused(110027, "Margin is not modified")
    if amount > engine.available(account, engine.coin_of(symbol)):
        raise Refused(110012, "Insufficient available balance")
    if position.added + amount < 0:
        raise Refused(110012, "The position margin cannot fall below the initial margin")
    position.added += amount
    if engine.spare(account, position) <= 0:
        position.added -= amount
        raise Refused(110046, "The margin would trigger liquidation")
    account.safe.clear()
    position.updated_ms = engine.now_ms
    engine.tell_position(account, symbol)
    engine.tell_wallet(account)
    return position


def switch_mode(engine: Engine, account: Account, symbol: str, mode: int) -> None:
    """Sets one-way mode (0) or hedge mode (3) for a symbol that has no position and no orders."""
    if (mode == HEDGE) == (symbol in account.hedged):
        raise Refused(110025, "Position mode is not modified")
    if engine.coin_of(symbol) != "USDT":
        raise Refused(110029, "The current trading pair does not support hedge mode")
    if account.holds(symbol):
        raise Refused(110024, "You have an existing position, so the position mode cannot be switched.")
    if account.by_symbol.get(symbol):
        raise Refused(110028, "You have existing open orders, so the position mode cannot be switched.")
    _switch(engine, account, symbol, mode)
    engine.tell_position(account, symbol)


def switch_coin(engine: Engine, account: Account, coin: str, mode: int) -> None:
    """Sets the mode of every symbol of a settle coin that has no position and no orders; the others are unchanged."""
    if coin != "USDT" and mode == HEDGE:
        raise Refused(110029, f"Contracts settled in {coin} do not support hedge mode")
    for symbol, instrument in engine.instruments.items():
        busy = account.holds(symbol) or account.by_symbol.get(symbol)
        if instrument.settle_coin == coin and not busy and (mode == HEDGE) != (symbol in account.hedged):
            _switch(engine, account, symbol, mode)


def _switch(engine: Engine, account: Account, symbol: str, mode: int) -> None:
    leverage = account.legs(symbol)[0].leverage
    if mode == HEDGE:
        account.hedged.add(symbol)
    else:
        account.hedged.discard(symbol)
    for position in account.legs(symbol):
        position.leverage = leverage


def set_trading_stop(engine: Engine, account: Account, request: TradingStop) -> None:
    """Sets, moves or clears the stops of an open position."""
    symbol = request.symbol
    instrument, book = engine.instruments[symbol], engine.books[symbol]
    check_idx(account, symbol, request.idx)
    position = account.position(symbol, request.idx)
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
    long = account.position(request.symbol, request.idx).side == BUY
    if long and active <= book.last:
        raise Refused(10001, f"TrailingProfit:{active} set for Buy position should be higher than last:{book.last}")
    if not long and active >= book.last:
        raise Refused(10001, f"TrailingProfit:{active} set for Sell position should be lower than last:{book.last}")


def _partial(engine: Engine, account: Account, request: TradingStop) -> None:
    """Adds a partial take profit and/or stop loss."""
    position = account.position(request.symbol, request.idx)
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
        idx=request.idx,
    )
    stops.partial_pair(engine, account, position, source, size)
    engine.tell_position(account, request.symbol)
    price_moves.run_due(engine)
