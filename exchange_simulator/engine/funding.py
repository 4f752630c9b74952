"""Funding: at funding times holders of one side pay the other size x mark price x rate.

USDC-settled contracts also end a session then: profit since the last session is realised at the mark price before
funding, and the new session starts from that price.
"""

from decimal import Decimal

from exchange_simulator.engine import liquidation
from exchange_simulator.engine.account import Account
from exchange_simulator.engine.model import ZERO, ClosedPnl, Execution, LedgerLine, Position, SessionSettled
from exchange_simulator.engine.state import Engine


def charge(engine: Engine, symbol: str, rate: Decimal) -> None:
    """Charges every position in a symbol now. At a positive rate longs pay shorts."""
    for account in list(engine.books[symbol].holders.values()):
        for position in account.legs(symbol):
            if position.size:
                _charge(engine, account, position, rate)
        liquidation.check(engine, account)


def _settle_session(engine: Engine, account: Account, position: Position) -> Decimal:
    """Realises the profit of a position since the last session; returns the amount."""
    mark, size = engine.books[position.symbol].mark, abs(position.size)
    gain = position.unrealised(mark)
    common = (account.uid, position.symbol)
    engine.events.append(
        SessionSettled(*common, position.side, size, position.session_average, mark, gain, engine.now_ms)
    )
    engine.events.append(
        ClosedPnl(
            uid=account.uid,
            symbol=position.symbol,
            order_id=engine.ids.new(f"{account.uid}/session"),
            side="",
            qty=size,
            order_price=mark,
            order_type="UNKNOWN",
            exec_type="SessionSettlePnL",
            closed_size=size,
            entry_value=position.entry_value,
            exit_value=size * mark,
            pnl=gain,
            fills=0,
            leverage=position.leverage,
            open_fee=ZERO,
            close_fee=ZERO,
            created_ms=engine.now_ms,
            updated_ms=engine.now_ms,
        )
    )
    position.entry_value = size * mark
    account.pay(engine.coin_of(position.symbol), gain).gross += gain
    position.cur_realised += gain
    position.cum_realised += gain
    return gain


def _charge(engine: Engine, account: Account, position: Position, rate: Decimal) -> None:
    symbol, coin = position.symbol, engine.coin_of(position.symbol)
    book = engine.books[symbol]
    size = abs(position.size)
    gain = _settle_session(engine, account, position) if book.instrument.settles_sessions else ZERO
    value = size * book.mark
    fee = value * rate * position.sign
    account.pay(coin, -fee).funding -= fee
    account.safe.clear()
    position.funding -= fee
    position.cur_realised -= fee
    position.cum_realised -= fee
    position.updated_ms = engine.now_ms
    engine.charge_margin(account, position)
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
        coin=coin,
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
            cash_flow=gain,
            change=gain - fee,
            balance=account.balances[coin],
            fee_rate=rate,
            trade_id=execution.exec_id,
            order_id=execution.order_id,
            link_id="",
            time_ms=engine.now_ms,
            coin=coin,
        )
    )
    engine.tell_position(account, symbol)
    engine.tell_wallet(account)
