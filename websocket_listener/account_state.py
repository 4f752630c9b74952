"""The live state of one bot in memory: what is older than what is known is ignored, every change is written to Redis.

Memory is the first guard and the source of every rebuild; `apply.lua` is the second guard, atomic in Redis.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import NamedTuple

from msgspec import structs

from alpha.bybit.models import Wallet, WalletCoin
from alpha.live_state import keys
from alpha.model.order import Order
from alpha.model.position import Position
from websocket_listener import serialize
from websocket_listener.redis_writer import Change

#: Closed orders that are remembered, so that a late message cannot revive one.
_CLOSED_KEPT = 10_000
_RANK = {"Created": 0, "Untriggered": 1, "Triggered": 2, "New": 3, "Active": 3, "PartiallyFilled": 4}
_CLOSED_RANK = 9
_ZERO = Decimal(0)


class Mark(NamedTuple):
    """A mark price and when it came, on the wall clock."""

    price: Decimal
    at_ms: int


class AccountState:
    """Positions, open orders and wallet of one bot."""

    def __init__(self, bot: str, put: Callable[[Change], None], marks: Mapping[str, Mark]) -> None:
        """`put` takes the changes for Redis in order; `marks` are the mark prices now, by symbol."""
        self.positions: dict[str, Position] = {}
        self.orders: dict[str, Order] = {}
        self.coin: WalletCoin | None = None
        self._bot = bot
        self._put = put
        self._marks = marks
        self._opened_ms: dict[str, int | None] = {}
        self._closed: OrderedDict[str, int] = OrderedDict()
        self._available: Decimal | None = None
        self._wallet_ms = 0
        self._marked: dict[str, Decimal] = {}

    # -- what the exchange says ---------------------------------------------------------------------------------

    def take_position(self, row: Position) -> bool:
        """Take a position; False when it is older by (seq, updated time) than the known one, or says nothing new."""
        known = self.positions.get(row.symbol)
        if known is not None:
            if position_age(row) < position_age(known):
                return False
            if row.seq == known.seq and shows_the_same(row, known):
                return False
        self._note_opening(row, known)
        self.positions[row.symbol] = row
        self._put(self._position_change("POSITION", row, event=True))
        return True

    def force_position(self, row: Position) -> None:
        """Take the exchange's word although what we hold claims to be newer."""
        self._note_opening(row, self.positions.get(row.symbol))
        self.positions[row.symbol] = row
        self._put(self._position_change("FORCE", row, event=False))

    def take_order(self, row: Order) -> bool:
        """Take an order; False when it is older than the known state, and always for news of a closed order."""
        closed_ms = self._closed.get(row.order_id)
        if closed_ms is not None and (not row.is_open or row.updated_ms <= closed_ms):
            return False
        known = self.orders.get(row.order_id)
        if known is not None and (row == known or (row.is_open and order_age(row) < order_age(known))):
            return False
        updated = str(row.updated_ms)
        if row.is_open:
            self._closed.pop(row.order_id, None)
            self.orders[row.order_id] = row
            self._put(("ORDER", row.order_id, updated, updated, serialize.order_json(row)))
        else:
            self.orders.pop(row.order_id, None)
            self._closed[row.order_id] = row.updated_ms
            if len(self._closed) > _CLOSED_KEPT:
                self._closed.popitem(last=False)
            self._put(("CLOSED", row.order_id, updated, updated, serialize.order_json(row)))
        return True

    def forget_order(self, order_id: str) -> None:
        """An open order that the exchange does not know any more."""
        order = self.orders.pop(order_id, None)
        if order is not None:
            self._put(("CLOSED", order_id, str(order.updated_ms), "", ""))

    def force_order(self, row: Order) -> None:
        """Take the exchange's word of an open order although what we hold claims to be newer. Redis must be written anew."""
        self.orders[row.order_id] = row

    def take_wallet(self, row: Wallet, at_ms: int) -> bool:
        """Take a wallet as of `at_ms` (the exchange's time). False when it is older, has no USDT, or says nothing new."""
        coin = row.usdt
        if coin is None or at_ms < self._wallet_ms:
            return False
        available = coin.available if row.total_available is None else row.total_available
        if coin == self.coin and available == self._available:
            return False
        # P&L that only moved with the marks is no news of the wallet: marks are written each second
        event = self.coin is None or coin.wallet_balance != self.coin.wallet_balance or available != self._available
        self.coin, self._available, self._wallet_ms = coin, available, at_ms
        self._put(self._wallet_change(event=event))
        return True

    def force_wallet(self, row: Wallet, at_ms: int) -> None:
        """Take the exchange's word although what we hold claims to be newer. Redis must be written anew."""
        self._wallet_ms = 0
        self.take_wallet(row, at_ms)

    @property
    def wallet_ms(self) -> int:
        """As of when the wallet is, in the exchange's time."""
        return self._wallet_ms

    # -- marks --------------------------------------------------------------------------------------------------

    def mark(self, now_ms: int) -> None:
        """Recompute unrealised P&L and equity from the marks; `marked_at` is when the (oldest) mark came, wall clock."""
        moved = False
        oldest_ms = now_ms
        total = Decimal(0)
        for row in self.positions.values():
            if not row.size:
                continue
            mark = self._marks.get(row.symbol)
            profit = serialize.unrealised(row, None if mark is None else mark.price)
            total += profit
            if mark is not None:
                moved = True
                oldest_ms = min(oldest_ms, mark.at_ms)
                self._put(
                    (
                        *("MARK", keys.position(self._bot, row.symbol), "mark_price", serialize.text(mark.price)),
                        *("unrealised_pnl", serialize.text(profit), "marked_at", str(mark.at_ms)),
                    )
                )
        if self.coin is None or not (moved or self.coin.unrealised_pnl):
            return
        self.coin = structs.replace(self.coin, unrealised_pnl=total, equity=self.coin.wallet_balance + total)
        self._put(
            (
                *("MARK", keys.wallet(self._bot), "equity", serialize.text(self.coin.equity)),
                *("unrealised_pnl", serialize.text(total), "marked_at", str(oldest_ms)),
            )
        )

    # -- the whole ----------------------------------------------------------------------------------------------

    def rebuild(self) -> list[Change]:
        """The changes that write the whole state, whatever Redis holds."""
        open_symbols = [symbol for symbol, row in self.positions.items() if row.size]
        changes: list[Change] = [("FLATTEN", *open_symbols), ("FORGET",)]
        changes += [self._position_change("FORCE", row, event=False) for row in self.positions.values()]
        changes += [
            ("ORDER", row.order_id, str(row.updated_ms), "", serialize.order_json(row)) for row in self.orders.values()
        ]
        if self.coin is not None:
            changes.append(self._wallet_change(event=False))
        return changes

    @property
    def available(self) -> Decimal | None:
        """What is free for new positions, in USDT, as the exchange last said."""
        return self._available

    def _note_opening(self, row: Position, known: Position | None) -> None:
        if not row.size:
            self._opened_ms[row.symbol] = None
        elif row.open_ms is not None:
            self._opened_ms[row.symbol] = row.open_ms
        elif known is None or not known.size or known.side != row.side:
            self._opened_ms[row.symbol] = row.updated_ms

    def _position_change(self, word: str, row: Position, *, event: bool) -> Change:
        mark = self._marks.get(row.symbol) if row.size else None
        fields = serialize.position_fields(row, None if mark is None else mark.price, self._opened_ms.get(row.symbol))
        data = serialize.json_text({"symbol": row.symbol, **fields}) if event else ""
        flat = [part for pair in fields.items() for part in pair]
        seq, updated = str(row.seq), serialize.text(row.updated_ms)
        return (word, row.symbol, seq, updated, "1" if row.size else "0", data, *flat)

    def _wallet_change(self, *, event: bool) -> Change:
        if self.coin is None:
            raise ValueError("there is no wallet to write")
        fields = serialize.wallet_fields(self.coin, self._available, self._wallet_ms)
        flat = [part for pair in fields.items() for part in pair]
        data = serialize.json_text(fields) if event else ""
        return ("WALLET", str(self._wallet_ms), data, *flat)


def shows_the_same(row: Position, known: Position) -> bool:
    """Equal in all that is not a mere consequence of the mark price."""
    return (
        row.size == known.size
        and row.side == known.side
        and row.entry_price == known.entry_price
        and row.stop_loss == known.stop_loss
        and row.take_profit == known.take_profit
        and row.trailing_stop == known.trailing_stop
        and row.leverage == known.leverage
    )


def flat(known: Position) -> Position:
    """This position, closed: what the exchange would say of it if it still said anything."""
    return structs.replace(
        known,
        side="",
        size=_ZERO,
        entry_price=_ZERO,
        value=_ZERO,
        unrealised_pnl=_ZERO,
        **dict.fromkeys(("stop_loss", "take_profit", "trailing_stop", "liq_price", "open_ms")),
    )


def position_age(row: Position) -> tuple[int, int]:
    """Orders the states of one position in time."""
    return row.seq, row.updated_ms or 0


def order_age(order: Order) -> tuple[int, Decimal, int]:
    """Orders the states of one order in time."""
    rank = _RANK.get(order.status, 3) if order.is_open else _CLOSED_RANK
    return order.updated_ms, order.cum_exec_qty, rank
