"""Serializes the engine's state, so that a restart resumes where the exchange stopped."""

from decimal import Decimal

import msgspec

from exchange_simulator.engine.account import Account, Totals
from exchange_simulator.engine.model import Position
from exchange_simulator.engine.state import Engine
from exchange_simulator.storage import Storage


class SavedBook(msgspec.Struct, array_like=True):
    """Saved state of one symbol's order book."""

    last: Decimal
    tick_direction: str
    seq: int


class SavedAccount(msgspec.Struct, array_like=True):
    """One account without its orders, which are stored individually."""

    uid: int
    taker_fee: Decimal
    maker_fee: Decimal
    default_leverage: Decimal
    wallet: Decimal
    margin_mode: str
    positions: dict[str, Position]
    totals: Totals
    updated_ms: int
    balances: dict[str, Decimal] = {}
    sums: dict[str, Totals] = {}
    hedged: list[str] = []
    demo: bool = False
    mnt_fees: bool = False


class SavedEngine(msgspec.Struct, array_like=True):
    """Engine state without accounts."""

    now_ms: int
    serial: int
    insurance: Decimal
    counters: dict[str, int]
    books: dict[str, SavedBook]


def dump(engine: Engine) -> dict[str, bytes]:
    """Serialized state by name: `engine`, and `account/<uid>` for each account."""
    encode = msgspec.msgpack.encode
    books = {
        symbol: SavedBook(book.last, book.tick_direction, book.seq)
        for symbol, book in engine.books.items()
        if book.last
    }
    state = {
        "engine": encode(SavedEngine(engine.now_ms, engine.serial, engine.insurance, dict(engine.ids.counters), books))
    }
    for account in engine.accounts.values():
        saved = SavedAccount(
            account.uid,
            account.taker_fee,
            account.maker_fee,
            account.default_leverage,
            account.wallet,
            account.margin_mode,
            account.positions,
            account.totals,
            account.updated_ms,
            account.balances,
            account.sums,
            sorted(account.hedged),
            account.demo,
            account.mnt_fees,
        )
        state[f"account/{account.uid}"] = encode(saved)
    return state


def restore(engine: Engine, storage: Storage) -> int | None:
    """Restores a saved engine; returns its business time, or None when nothing was saved."""
    state = storage.state()
    if "engine" not in state:
        return None
    saved = msgspec.msgpack.decode(state["engine"], type=SavedEngine)
    engine.now_ms, engine.serial, engine.insurance = saved.now_ms, saved.serial, saved.insurance
    engine.ids.counters.update(saved.counters)
    for symbol, kept in saved.books.items():
        book = engine.books.get(symbol)
        if book is not None:
            book.set_last(kept.last)
            book.tick_direction, book.seq = kept.tick_direction, kept.seq
    for name, data in state.items():
        if name.startswith("account/"):
            _restore_account(engine, msgspec.msgpack.decode(data, type=SavedAccount))
    for order in sorted(storage.open_orders(), key=lambda order: order.serial):
        account = engine.accounts[order.uid]
        account.add(order)
        if order.waiting:
            engine.books[order.symbol].wait_trigger(order)
        else:
            engine.books[order.symbol].wait_limit(order)
    return engine.now_ms


def _restore_account(engine: Engine, saved: SavedAccount) -> None:
    account = Account(
        uid=saved.uid,
        taker_fee=saved.taker_fee,
        maker_fee=saved.maker_fee,
        default_leverage=saved.default_leverage,
        balances=saved.balances or {"USDT": saved.wallet},
        margin_mode=saved.margin_mode,
        positions=saved.positions,
        sums=saved.sums or {"USDT": saved.totals},
        hedged=set(saved.hedged),
        demo=saved.demo,
        mnt_fees=saved.mnt_fees,
        updated_ms=saved.updated_ms,
    )
    engine.accounts[account.uid] = account
    for position in account.positions.values():
        if position.size:
            engine.books[position.symbol].holders[account.uid] = account
