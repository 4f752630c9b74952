"""Fills: how an order takes from the book or is hit in it, and what a fill does to position, money and history."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal

from exchange_simulator.engine import stops
from exchange_simulator.engine.account import MNT, Account
from exchange_simulator.engine.book import Book
from exchange_simulator.engine.model import (
    BUY,
    MONEY_STEP,
    ZERO,
    ClosedPnl,
    Execution,
    LedgerLine,
    Order,
    Position,
)
from exchange_simulator.engine.state import Engine

LEDGER_KIND = {"Trade": "TRADE", "BustTrade": "LIQUIDATION", "AdlTrade": "ADL", "Delivery": "DELIVERY"}


@dataclass(slots=True)
class MatchResult:
    """What the fills of one match add up to on the closing side."""

    size: Decimal = ZERO
    entry_value: Decimal = ZERO
    exit_value: Decimal = ZERO
    gross: Decimal = ZERO
    open_fee: Decimal = ZERO
    close_fee: Decimal = ZERO
    funding: Decimal = ZERO
    fills: int = 0
    opened: Decimal = ZERO
    executions: list[Execution] = field(default_factory=list)
    lines: list[LedgerLine] = field(default_factory=list)


def share(total: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """`total` x part / whole, cut to a fixed step; all of it when part is the whole."""
    if part == whole:
        return total
    return (total * part / whole).quantize(MONEY_STEP, rounding=ROUND_HALF_UP)


def available_fills(book: Book, order: Order, limit: Decimal | None) -> list[tuple[Decimal, Decimal]]:
    """Prices and quantities the book gives a taker for what the order has left, no worse than `limit`."""
    left, fills = order.leaves, []
    for price, size in book.levels(order.side):
        if limit is not None and (price > limit if order.side == BUY else price < limit):
            break
        qty = min(left, size)
        fills.append((price, qty))
        left -= qty
        if left <= 0:
            break
    return fills


def market_bound(book: Book, side: str, tolerance: Decimal | None = None) -> Decimal:
    """The internal limit of a market order: the last price plus or minus the band, on a tick."""
    tick = book.instrument.tick_size
    away = book.last * book.rules.market_band if tolerance is None else tolerance
    bound = book.last + away if side == BUY else book.last - away
    return max((bound / tick).to_integral_value(rounding=ROUND_FLOOR) * tick, tick)


def fill_taker(engine: Engine, account: Account, order: Order) -> None:
    """A new (or newly triggered) order meets the book; what is left rests or is cancelled by its time in force."""
    book = engine.books[order.symbol]
    stops.fit_reduce_only(engine, account, order)
    if not order.leaves:
        return
    fills = available_fills(book, order, order.price)
    filled = sum((qty for _, qty in fills), ZERO)
    tif = order.time_in_force
    if tif == "PostOnly" and fills:
        engine.end_order(account, order, "Cancelled", reason="EC_PostOnlyWillTakeLiquidity")
        return
    if tif == "FOK" and filled < order.leaves:
        engine.end_order(account, order, "Cancelled", reason="EC_NoEnoughQtyToFill")
        return
    if fills:
        settle(engine, account, order, fills, is_maker=False)
    if not order.leaves:
        return
    if tif in ("IOC", "FOK") or order.order_type == "Market":
        reason = "EC_NoImmediateQtyToFill" if not fills else "EC_CancelForNoFullFill"
        engine.end_order(account, order, "Cancelled", reason=reason)
        return
    if not fills:
        order.status = "PartiallyFilled" if order.cum_qty else "New"
        engine.tell_order(order)
    book.wait_limit(order)


def fill_maker(engine: Engine, account: Account, order: Order, through: bool) -> None:
    """The price has met a resting limit order. It fills wholly when the price goes `through`, else what the touch has."""
    book = engine.books[order.symbol]
    stops.fit_reduce_only(engine, account, order)
    if not order.leaves:
        return
    qty = order.leaves
    if not through and book.rules.depth_usdt > 0:
        qty = min(qty, book.level_size(order.price))
    partial = qty < order.leaves
    if partial:
        book.forget(order)
    settle(engine, account, order, [(order.price, qty)], is_maker=True)
    if partial and order.open:
        book.wait_beyond(order)


def settle(
    engine: Engine,
    account: Account,
    order: Order,
    fills: Iterable[tuple[Decimal, Decimal]],
    is_maker: bool,
    exec_type: str = "Trade",
) -> None:
    """Books the fills of one match: executions, money, position, order, closed profit; then what follows from them."""
    book = engine.books[order.symbol]
    position = account.position(order.symbol, order.idx)
    before = position.size
    seq = book.next_seq()
    burst = MatchResult()
    with account.recounted(order):
        for price, qty in fills:
            _fill(engine, account, book, position, order, price, qty, is_maker, exec_type, seq, burst)
            if price != book.mark:
                engine.margin_check_queue[account.uid] = account
        account.safe.clear()
        engine.charge_margin(account, position)
        position.seq = seq
        position.updated_ms = engine.now_ms
        order.updated_ms = engine.now_ms
        order.closed_pnl += burst.gross
        order.status = "PartiallyFilled" if order.leaves > 0 else "Filled"
    if order.leaves <= 0:
        book.forget(order)
        account.drop(order)
    if account.holds(order.symbol):
        book.holders[account.uid] = account
    else:
        book.holders.pop(account.uid, None)
    engine.events.extend(burst.executions)
    engine.tell_order(order)
    engine.events.extend(burst.lines)
    if burst.size:
        engine.events.append(_closed_row(engine, order, position, burst, exec_type))
    engine.cover(account)
    engine.tell_position(account, order.symbol)
    engine.tell_wallet(account)
    stops.after_change(engine, account, order, before, burst.opened)


def _fill(
    engine: Engine,
    account: Account,
    book: Book,
    position: Position,
    order: Order,
    price: Decimal,
    qty: Decimal,
    is_maker: bool,
    exec_type: str,
    seq: int,
    burst: MatchResult,
) -> None:
    rate = account.maker_fee if is_maker else account.taker_fee
    value = price * qty
    fee = value * rate
    mnt = engine.in_mnt(account, fee) if exec_type == "Trade" else ZERO
    if mnt:
        fee = ZERO
    held = abs(position.size)
    closed = min(qty, held) if position.sign == -order.sign else ZERO
    opened = qty - closed
    close_fee = share(fee, closed, qty) if closed else ZERO
    gross = ZERO
    if closed:
        entry = share(position.entry_value, closed, held)
        open_fee = share(position.open_fee, closed, held)
        funding = share(position.funding, closed, held)
        exit_value = price * closed
        gross = (exit_value - entry) * position.sign
        position.entry_value -= entry
        position.open_fee -= open_fee
        position.funding -= funding
        if position.added:
            position.added -= share(position.added, closed, held)
        if position.opened_value is not None:
            position.opened_value -= share(position.opened_value, closed, held)
        position.size += closed * order.sign
        position.cur_realised += gross - close_fee
        burst.size += closed
        burst.entry_value += entry
        burst.exit_value += exit_value
        burst.gross += gross
        burst.open_fee += open_fee
        burst.close_fee += close_fee
        burst.funding += funding
        burst.fills += 1
    if opened:
        if not position.size:
            position.cur_realised = ZERO
            position.open_ms = engine.now_ms
            position.created_ms = position.created_ms or engine.now_ms
            position.opened_value = ZERO if book.instrument.settles_sessions else None
        position.size += opened * order.sign
        if position.opened_value is not None:
            position.opened_value += price * opened
        position.entry_value += price * opened
        position.open_fee += fee - close_fee
        position.cur_realised -= fee - close_fee
        burst.opened += opened
    change = gross - fee
    position.cum_realised += change
    sums = account.pay(order.coin, change)
    sums.gross += gross
    sums.fees += fee
    order.leaves -= qty
    order.cum_qty += qty
    order.cum_value += value
    order.cum_fee += fee
    order.mnt_fee += mnt
    execution = Execution(
        exec_id=engine.ids.new(f"{account.uid}/exec"),
        uid=account.uid,
        symbol=order.symbol,
        order_id=order.order_id,
        link_id=order.link_id,
        side=order.side,
        exec_type=exec_type,
        price=price,
        qty=qty,
        value=value,
        fee=mnt or fee,
        fee_rate=rate,
        is_maker=is_maker,
        order_price=order.price,
        order_qty=order.qty,
        leaves=order.leaves,
        order_type=order.order_type,
        create_type=order.create_type,
        stop_order_type=order.stop_order_type,
        closed_size=closed,
        pnl=gross,
        mark=book.mark,
        index=engine.index_of(order.symbol),
        time_ms=engine.now_ms,
        seq=seq,
        coin=MNT if mnt else order.coin,
    )
    burst.executions.append(execution)
    burst.lines.append(
        LedgerLine(
            line_id=engine.ids.new(f"{account.uid}/ledger"),
            uid=account.uid,
            symbol=order.symbol,
            side=order.side,
            kind=LEDGER_KIND[exec_type],
            qty=qty,
            size=position.size,
            price=price,
            funding=ZERO,
            fee=fee,
            cash_flow=gross,
            change=change,
            balance=account.balances[order.coin],
            fee_rate=rate,
            trade_id=execution.exec_id,
            order_id=order.order_id,
            link_id=order.link_id,
            time_ms=engine.now_ms,
            coin=order.coin,
        )
    )
    if mnt:
        burst.lines.append(_mnt_line(engine, account, execution, mnt))


def _mnt_line(engine: Engine, account: Account, execution: Execution, amount: Decimal) -> LedgerLine:
    """The fee of a fill that is taken in MNT."""
    account.pay(MNT, -amount).fees += amount
    return LedgerLine(
        line_id=engine.ids.new(f"{account.uid}/ledger"),
        uid=account.uid,
        symbol=execution.symbol,
        side=execution.side,
        kind="TRADE",
        qty=ZERO,
        size=ZERO,
        price=execution.price,
        funding=ZERO,
        fee=amount,
        cash_flow=ZERO,
        change=-amount,
        balance=account.balances[MNT],
        fee_rate=execution.fee_rate,
        trade_id=execution.exec_id,
        order_id=execution.order_id,
        link_id=execution.link_id,
        time_ms=engine.now_ms,
        coin=MNT,
    )


def _closed_row(engine: Engine, order: Order, position: Position, burst: MatchResult, exec_type: str) -> ClosedPnl:
    return ClosedPnl(
        uid=order.uid,
        symbol=order.symbol,
        order_id=order.order_id,
        side=order.side,
        qty=order.qty,
        order_price=order.price,
        order_type=order.order_type,
        exec_type="BustTrade" if exec_type == "BustTrade" else "Settle" if exec_type == "Delivery" else "Trade",
        closed_size=burst.size,
        entry_value=burst.entry_value,
        exit_value=burst.exit_value,
        pnl=burst.gross - burst.open_fee - burst.close_fee + burst.funding,
        fills=burst.fills,
        leverage=position.leverage,
        open_fee=burst.open_fee,
        close_fee=burst.close_fee,
        created_ms=order.created_ms,
        updated_ms=engine.now_ms,
    )
