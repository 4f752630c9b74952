"""Do the fills that came explain what the exchange says of positions and orders? If not for two seconds, one was lost.

A position carries the sequence number of its last fill, so a running size after each number is enough to compare; an
order carries how much of it was executed.
"""

from collections import OrderedDict
from decimal import Decimal

from alpha.model.execution import CORPORATE_ACTION, Execution
from alpha.model.leg import BOTH, slot_of
from alpha.model.order import Order
from alpha.model.position import Position
from alpha.model.side import SELL

WAIT_S = 2.0
_ORDERS_KEPT = 5_000
_STEPS_KEPT = 64
_ZERO = Decimal(0)


class _Slot:
    """The running size of one position (a symbol's, or one leg of it), from a base that the exchange stated."""

    __slots__ = ("base_ms", "base_seq", "net", "seq", "size", "split_seq", "steps", "wrong_since_s")

    def __init__(self, size: Decimal, seq: int, base_ms: int) -> None:
        self.base_seq = seq
        self.base_ms = base_ms
        self.net = size
        self.size = size
        self.seq = seq
        self.steps: OrderedDict[int, Decimal] = OrderedDict({seq: size})
        self.wrong_since_s: float | None = None
        #: A corporate action whose new size the exchange has not stated yet.
        self.split_seq: int | None = None

    def resized(self, seq: int) -> None:
        """A corporate action: the exchange's next size, or the one that came with it, is the new base."""
        if self.seq >= seq:
            self.net, self.split_seq = self.size, None
        else:
            self.split_seq = seq

    def judge(self, now_s: float) -> None:
        if self.net == self.size or self.steps.get(self.seq) == self.size:
            self.wrong_since_s = None
        elif self.wrong_since_s is None:
            self.wrong_since_s = now_s


class _Filled:
    """Executed quantity of one order: the sum of its fills, and the exchange's figure."""

    __slots__ = ("stated", "sum", "symbol", "wrong_since_s")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.sum = _ZERO
        self.stated = _ZERO
        self.wrong_since_s: float | None = None

    def judge(self, now_s: float) -> None:
        if self.sum >= self.stated:
            self.wrong_since_s = None
        elif self.wrong_since_s is None:
            self.wrong_since_s = now_s


class Explainer:
    """Compares, for one account. Times are of the monotonic clock, in seconds."""

    def __init__(self, wait_s: float = WAIT_S) -> None:
        self._wait_s = wait_s
        self._slots: dict[str, _Slot] = {}
        self._orders: OrderedDict[str, _Filled] = OrderedDict()
        self._suspects: set[str] = set()
        self._suspect_orders: set[str] = set()
        #: Fills at or before this time of the exchange are in every position that was not listed then.
        self.begins_ms = 0

    def fill(self, row: Execution, now_s: float, leg: str = BOTH) -> None:
        """A fill that was not seen before."""
        if row.category != "linear" or not row.changes_size:
            return
        slot = slot_of(row.symbol, leg)
        signed = -row.qty if row.side == SELL else row.qty
        seq = -1 if row.seq is None else row.seq
        symbol = self._slots.get(slot)
        if symbol is None:
            symbol = self._slots[slot] = _Slot(_ZERO, -1, self.begins_ms)
        if row.exec_type == CORPORATE_ACTION:
            symbol.resized(seq)
            return
        if seq > symbol.base_seq and row.exec_time_ms > symbol.base_ms:
            symbol.net += signed
            symbol.steps[seq] = symbol.net
            if len(symbol.steps) > _STEPS_KEPT:
                symbol.steps.popitem(last=False)
            symbol.judge(now_s)
            if symbol.wrong_since_s is not None:
                self._suspects.add(slot)
        if row.order_id:
            order = self._order(row.order_id, row.symbol)
            order.sum += row.qty
            order.judge(now_s)

    def position(self, row: Position, now_s: float) -> None:
        """A position that is newer than the one before."""
        symbol = self._slots.get(row.slot)
        if symbol is None:
            self._slots[row.slot] = _Slot(row.signed_size, row.seq, 0)
            return
        symbol.size, symbol.seq = row.signed_size, row.seq
        if symbol.split_seq is not None and row.seq >= symbol.split_seq:
            symbol.net, symbol.split_seq = row.signed_size, None
        symbol.judge(now_s)
        if symbol.wrong_since_s is not None:
            self._suspects.add(row.slot)

    def order(self, row: Order, now_s: float, *, known_before: bool) -> None:
        """An order. `known_before`: its fills so far came before this listener listened, and were read over REST."""
        if row.category != "linear" or not row.cum_exec_qty:
            return
        order = self._orders.get(row.order_id)
        if order is None:
            order = self._order(row.order_id, row.symbol)
            if known_before:
                order.sum = row.cum_exec_qty
        order.stated = max(order.stated, row.cum_exec_qty)
        order.judge(now_s)
        if order.wrong_since_s is not None:
            self._suspect_orders.add(row.order_id)

    def overdue(self, now_s: float) -> list[str]:
        """Overdue unexplained differences, one sentence each."""
        found = []
        for name in list(self._suspects):
            symbol = self._slots[name]
            if symbol.wrong_since_s is None:
                self._suspects.discard(name)
            elif now_s - symbol.wrong_since_s >= self._wait_s:
                found.append(f"The position of {name} is {symbol.size}; the fills say {symbol.net}.")
        for order_id in list(self._suspect_orders):
            order = self._orders.get(order_id)
            if order is None or order.wrong_since_s is None:
                self._suspect_orders.discard(order_id)
            elif now_s - order.wrong_since_s >= self._wait_s:
                found.append(f"The order {order_id} was executed for {order.stated}; the fills say {order.sum}.")
        return found

    def overdue_orders(self, now_s: float) -> list[str]:
        """The ids of the orders whose fills are overdue."""
        return [
            order_id
            for order_id in self._suspect_orders
            if (order := self._orders.get(order_id)) is not None
            and order.wrong_since_s is not None
            and now_s - order.wrong_since_s >= self._wait_s
        ]

    def accept(self, now_s: float) -> list[str]:
        """Everything was read and some things are still unexplained: take the exchange's word. Returns them."""
        left = self.overdue(now_s)
        for name in self._suspects:
            symbol = self._slots[name]
            self._slots[name] = _Slot(symbol.size, symbol.seq, 0)
        for order_id in self._suspect_orders:
            self._orders.pop(order_id, None)
        self._suspects.clear()
        self._suspect_orders.clear()
        return left

    def _order(self, order_id: str, symbol: str) -> _Filled:
        order = self._orders.get(order_id)
        if order is None:
            order = self._orders[order_id] = _Filled(symbol)
            if len(self._orders) > _ORDERS_KEPT:
                self._orders.popitem(last=False)
        return order
