"""Corporate actions of stock perpetuals: a split multiplies every size and divides every price; values are unchanged.

Bybit documents the execution type `CorporateAction` without an example. Here a split cancels the orders of the symbol,
changes each position in place and records one execution per position, whose quantity is the change in size.
"""

from dataclasses import replace
from decimal import Decimal

from exchange_simulator.engine.model import ZERO, Execution, Refused
from exchange_simulator.engine.state import Engine
from exchange_simulator.market.catalogue import decimals
from exchange_simulator.market.model import Instrument

RATIOS = tuple(Decimal(text) for text in ("2", "4", "5", "10", "20", "0.5", "0.25", "0.2", "0.1", "0.05"))


def split_instrument(instrument: Instrument, ratio: Decimal) -> Instrument:
    """Returns the instrument after a split: one becomes `ratio`. Past candles follow, since their
    prices are in ticks.
    """
    tick = instrument.tick_size / ratio
    return replace(
        instrument,
        tick_size=tick,
        order_tick=instrument.order_tick / ratio,
        min_price=instrument.min_price / ratio,
        max_price=instrument.max_price / ratio,
        qty_step=instrument.qty_step * ratio,
        min_order_qty=instrument.min_order_qty * ratio,
        max_order_qty=instrument.max_order_qty * ratio,
        max_mkt_order_qty=instrument.max_mkt_order_qty * ratio,
        price_scale=decimals(tick),
    )


def split(engine: Engine, symbol: str, ratio: Decimal) -> None:
    """Splits positions in a symbol whose instrument is already split. Raises `Refused` for an unsupported ratio."""
    if ratio not in RATIOS:
        raise Refused(10001, f"a split of {ratio} is not supported: use one of {', '.join(map(str, RATIOS))}")
    book = engine.books[symbol]
    for account in engine.accounts.values():
        for order in account.symbol_orders(symbol):
            status = "Deactivated" if order.waiting else "Cancelled"
            engine.end_order(account, order, status, cancel_type="CancelByAdmin")
    book.split(ratio)
    for account in list(book.holders.values()):
        account.safe.clear()
        for position in account.legs(symbol):
            if not position.size:
                continue
            before = abs(position.size)
            position.size *= ratio
            position.seq = book.next_seq()
            position.updated_ms = engine.now_ms
            engine.events.append(
                Execution(
                    exec_id=engine.ids.new(f"{account.uid}/exec"),
                    uid=account.uid,
                    symbol=symbol,
                    order_id=engine.ids.new(f"{account.uid}/corporate"),
                    link_id="",
                    side=position.side,
                    exec_type="CorporateAction",
                    price=book.mark,
                    qty=abs(abs(position.size) - before),
                    value=ZERO,
                    fee=ZERO,
                    fee_rate=ZERO,
                    is_maker=False,
                    order_price=ZERO,
                    order_qty=ZERO,
                    leaves=ZERO,
                    order_type="UNKNOWN",
                    create_type="",
                    stop_order_type="UNKNOWN",
                    closed_size=ZERO,
                    pnl=ZERO,
                    mark=book.mark,
                    index=engine.index_of(symbol),
                    time_ms=engine.now_ms,
                    seq=position.seq,
                    coin=engine.coin_of(symbol),
                )
            )
        engine.tell_position(account, symbol)
