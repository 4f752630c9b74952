"""Which leg of a position an execution belongs to: in hedge mode executions carry no `positionIdx`, their orders do.

Order of trust: the order's index; a symbol that is known to be in one-way mode; side and `closedSize`. What was told by
the fallback is checked once its order is known; a difference is corrected and becomes an issue. Pure.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from alpha.model.execution import Execution
from alpha.model.leg import BOTH, hedge_leg, leg_of_index
from alpha.model.order import Order
from alpha.model.position import Position

_ORDERS_KEPT = 20_000
_GUESSES_KEPT = 20_000
LINEAR = "linear"


@dataclass(frozen=True, slots=True)
class LegIssue:
    """An execution whose own fields say another leg than its order does; the order counts."""

    symbol: str
    exec_id: str
    order_id: str
    by_order: str
    by_fields: str


@dataclass(slots=True)
class Legs:
    """What is known of one account: the index of recent orders and the mode of each symbol."""

    hedged: dict[str, bool] = field(default_factory=dict)
    #: Waiting to be stored by `LegKeeper`.
    issues: list[LegIssue] = field(default_factory=list)
    _orders: OrderedDict[str, str] = field(default_factory=OrderedDict)
    _guesses: OrderedDict[str, list[tuple[str, str, str]]] = field(default_factory=OrderedDict)

    def of(self, execution: Execution) -> str | None:
        """The leg of an execution; None while neither its order nor the mode of its symbol is known."""
        if execution.category != LINEAR:
            return BOTH
        by_order = self._orders.get(execution.order_id) if execution.order_id else None
        if by_order is not None:
            self._compare(execution, by_order)
            return by_order
        hedged = self.hedged.get(execution.symbol)
        if not hedged:
            return None if hedged is None else BOTH
        leg = hedge_leg(execution.side, execution.closed_size, funding=execution.exec_type == "Funding")
        if leg is not None and execution.changes_size and execution.order_id:
            self._guesses.setdefault(execution.order_id, []).append((execution.symbol, execution.exec_id, leg))
            if len(self._guesses) > _GUESSES_KEPT:
                self._guesses.popitem(last=False)
        return leg

    def knows_order(self, order_id: str) -> bool:
        """True when the index of this order is known."""
        return order_id in self._orders

    def order(self, order: Order) -> None:
        """An order of the exchange: it says its own leg and the mode of its symbol."""
        if order.category == LINEAR:
            if order.is_open:
                self.hedged[order.symbol] = order.position_idx != 0
            else:
                self.hedged.setdefault(order.symbol, order.position_idx != 0)
            self.order_is(order.order_id, order.leg)

    def order_is(self, order_id: str, leg: str) -> None:
        """The leg of an order, as the exchange or an earlier listener knew it."""
        self._orders[order_id] = leg
        if len(self._orders) > _ORDERS_KEPT:
            self._orders.popitem(last=False)
        for symbol, exec_id, guess in self._guesses.pop(order_id, ()):
            if guess != leg:
                self.issues.append(LegIssue(symbol, exec_id, order_id, leg, guess))

    def position(self, position: Position) -> None:
        """A position of the exchange: it says the mode of its symbol."""
        if position.category == LINEAR:
            self.hedged[position.symbol] = leg_of_index(position.position_idx) != BOTH

    def _compare(self, execution: Execution, by_order: str) -> None:
        if by_order == BOTH or not execution.changes_size:
            return
        by_fields = hedge_leg(execution.side, execution.closed_size)
        if by_fields is not None and by_fields != by_order:
            issue = LegIssue(execution.symbol, execution.exec_id, execution.order_id, by_order, by_fields)
            if issue not in self.issues:
                self.issues.append(issue)
