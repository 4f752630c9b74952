"""The live state of one bot in memory: what is older than what is known is ignored, every change is written to Redis.

Memory is the first guard and the source of every rebuild; `apply.lua` is the second guard, atomic in Redis.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import NamedTuple

from msgspec import structs

from alpha.live_state import keys
from alpha.model.coin import settle_coin
from alpha.model.order import Order
from alpha.model.position import Position
from websocket_listener import serialize
from websocket_listener.redis_writer import Change
from websocket_listener.wallet_state import WalletState

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
        #: By slot: the symbol, in hedge mode with the leg.
        self.positions: dict[str, Position] = {}
        self.orders: dict[str, Order] = {}
        self.wallet = WalletState(bot, put)
        self._bot = bot
        self._put = put
        self._marks = marks
        self._opened_ms: dict[str, int | None] = {}
        self._closed: OrderedDict[str, int] = OrderedDict()

    # -- what the exchange says ---------------------------------------------------------------------------------

    def take_position(self, row: Position) -> bool:
        """Take a position; False when it is older by (seq, updated time) than the known one, or says nothing new."""
        known = self.positions.get(row.slot)
        if known is not None:
            if position_age(row) < position_age(known):
                return False
            if row.seq == known.seq and shows_the_same(row, known):
                self._note_margin(row, known)
                return False
        self._note_opening(row, known)
        self.positions[row.slot] = row
        self._put(self._position_change("POSITION", row, event=True))
        return True

    def force_position(self, row: Position) -> None:
        """Take the exchange's word although what we hold claims to be newer."""
        self._note_opening(row, self.positions.get(row.slot))
        self.positions[row.slot] = row
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
        """Overwrite an open order with the exchange's state although ours claims to be newer. Redis must be rewritten."""
        self.orders[row.order_id] = row

    # -- marks --------------------------------------------------------------------------------------------------

    def mark(self, now_ms: int) -> None:
        """Recompute unrealised P&L and equity from the marks; `marked_at` is when the (oldest) mark came, wall clock."""
        oldest_ms: dict[str, int] = {}
        totals: dict[str, Decimal] = {}
        for row in self.positions.values():
            if not row.size:
                continue
            coin, mark = settle_coin(row.symbol), self._marks.get(row.symbol)
            profit = serialize.unrealised(row, None if mark is None else mark.price)
            totals[coin] = totals.get(coin, _ZERO) + profit
            if mark is not None:
                oldest_ms[coin] = min(oldest_ms.get(coin, now_ms), mark.at_ms)
                self._put(
                    (
                        *("MARK", keys.position(self._bot, row.slot), "mark_price", serialize.text(mark.price)),
                        *("unrealised_pnl", serialize.text(profit), "marked_at", str(mark.at_ms)),
                    )
                )
        self.wallet.mark(totals, oldest_ms, now_ms)

    # -- the whole ----------------------------------------------------------------------------------------------

    def rebuild(self) -> list[Change]:
        """The changes that write the whole state, whatever Redis holds."""
        open_slots = [slot for slot, row in self.positions.items() if row.size]
        changes: list[Change] = [("FLATTEN", *open_slots), ("FORGET",)]
        changes += [self._position_change("FORCE", row, event=False) for row in self.positions.values()]
        changes += [
            ("ORDER", row.order_id, str(row.updated_ms), "", serialize.order_json(row)) for row in self.orders.values()
        ]
        return [*changes, *self.wallet.rebuild()]

    def _note_margin(self, row: Position, known: Position) -> None:
        """Liquidation price, margin and ADL rank move with the market and with margin added: shown, but no news."""
        now = (row.liq_price, row.initial_margin, row.adl_rank)
        if not row.size or now == (known.liq_price, known.initial_margin, known.adl_rank):
            return
        self.positions[row.slot] = structs.replace(
            known,
            liq_price=row.liq_price,
            initial_margin=row.initial_margin,
            maintenance_margin=row.maintenance_margin,
            adl_rank=row.adl_rank,
        )
        fields = dict(zip(("liq_price", "margin", "adl_rank"), map(serialize.text, now), strict=True))
        flat_fields = [part for pair in fields.items() for part in pair]
        self._put(("MARK", keys.position(self._bot, row.slot), *flat_fields))

    def _note_opening(self, row: Position, known: Position | None) -> None:
        if not row.size:
            self._opened_ms[row.slot] = None
        elif row.open_ms is not None:
            self._opened_ms[row.slot] = row.open_ms
        elif known is None or not known.size or known.side != row.side:
            self._opened_ms[row.slot] = row.updated_ms

    def _position_change(self, word: str, row: Position, *, event: bool) -> Change:
        mark = self._marks.get(row.symbol) if row.size else None
        fields = serialize.position_fields(row, None if mark is None else mark.price, self._opened_ms.get(row.slot))
        data = serialize.json_text({"symbol": row.symbol, "leg": row.leg, **fields}) if event else ""
        flat = [part for pair in fields.items() for part in pair]
        seq, updated = str(row.seq), serialize.text(row.updated_ms)
        return (word, row.slot, seq, updated, "1" if row.size else "0", data, *flat)


def shows_the_same(row: Position, known: Position) -> bool:
    """Equal in all that is not a mere consequence of the mark price."""
    return (
        row.size == known.size
        and row.side == known.side
        and row.entry_price == known.entry_price
        and row.session_price == known.session_price
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
