"""Funding: at its times, holders of one side pay the other: size x mark price x rate."""

from decimal import Decimal

from exchange_simulator.engine import liquidation
from exchange_simulator.engine.account import Account
from exchange_simulator.engine.model import ZERO, Execution, LedgerLine
from exchange_simulator.engine.state import Engine


def charge(engine: Engine, symbol: str, rate: Decimal) -> None:
    """Charges every position in a symbol now. A positive rate is paid by longs to shorts."""
    for account in list(engine.books[symbol].holders.values()):
        _charge(engine, account, symbol, rate)
        liquidation.check(engine, account)


def _charge(engine: Engine, account: Account, symbol: str, rate: Decimal) -> None:
    book = engine.books[symbol]
    position = account.position(symbol)
    size = abs(position.size)
    value = size * book.mark
    fee = value * rate * position.sign
    account.wallet -= fee
    account.safe.clear()
    account.totals.funding -= fee
    position.funding -= fee
    position.cur_realised -= fee
    position.cum_realised -= fee
    position.updated_ms = engine.now_ms
    execution = Execution(
        exec_id=engine.ids.new(f"{account.uid}/exec"),
        uid=account.uid,
        symbol=symbol,
        order_id=engine.ids.new(f"{account.uid}/funding"),
        link_id="",
        side=position.side,
        exec_type="Funding",
        price=book.mark,
        qty=size,
        value=value,
        fee=fee,
        fee_rate=rate,
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
        seq=book.next_seq(),
    )
    position.seq = execution.seq
    engine.events.append(execution)
    engine.events.append(
        LedgerLine(
            line_id=engine.ids.new(f"{account.uid}/ledger"),
            uid=account.uid,
            symbol=symbol,
            side=position.side,
            kind="SETTLEMENT",
            qty=size,
            size=position.size,
            price=book.mark,
            funding=-fee,
            fee=ZERO,
            cash_flow=ZERO,
            change=-fee,
            balance=account.wallet,
            fee_rate=rate,
            trade_id=execution.exec_id,
            order_id=execution.order_id,
            link_id="",
            time_ms=engine.now_ms,
        )
    )
    engine.tell_position(account, symbol)
    engine.tell_wallet(account)
