"""Requests to the exchange: orders, amendments and position stops, as values and as parameters."""

import re
from decimal import Decimal

from msgspec import Struct

from alpha.errors import Rejected
from alpha.model.money import plain
from alpha.model.order import Order
from alpha.model.side import BUY, SELL

_LINK_ID = re.compile(r"[A-Za-z0-9_-]{1,36}")

Params = dict[str, str | int | bool]


class OrderRequest(Struct, frozen=True, kw_only=True):
    """One order to send. Quantity and prices must already fit the symbol's filters (`alpha.model.sizing`).

    `order_link_id` is required: an order whose answer was lost is looked up by it. `reference_price` is the market
    price known to the sender, which the caps check against. `price` None means a market order.
    """

    symbol: str
    side: str
    qty: Decimal
    order_link_id: str
    reference_price: Decimal
    price: Decimal | None = None
    time_in_force: str = ""
    reduce_only: bool = False
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    stop_trigger_by: str = "LastPrice"
    trigger_price: Decimal | None = None
    trigger_direction: int = 0
    trigger_by: str = "LastPrice"
    position_idx: int = 0
    category: str = "linear"

    @property
    def may_rest(self) -> bool:
        """True if the order can rest at the exchange and open a position later, when its sender may be gone."""
        return not self.reduce_only and (self.price is not None or self.trigger_price is not None)

    @property
    def notional(self) -> Decimal:
        """The order's notional in the quote coin, at the higher of its limit and the market price."""
        return self.qty * (self.reference_price if self.price is None else max(self.price, self.reference_price))

    def params(self) -> Params:
        """The parameters of `order/create`. Raises Rejected, naming the field, for an inconsistent order."""
        self.check()
        params: Params = {
            "category": self.category,
            "symbol": self.symbol,
            "side": self.side,
            "orderType": "Market" if self.price is None else "Limit",
            "qty": plain(self.qty),
            "orderLinkId": self.order_link_id,
            "positionIdx": self.position_idx,
            "reduceOnly": self.reduce_only,
        }
        if self.price is not None:
            params["price"] = plain(self.price)
            params["timeInForce"] = self.time_in_force or "GTC"
        if self.trigger_price is not None:
            params["triggerPrice"] = plain(self.trigger_price)
            params["triggerDirection"] = self.trigger_direction
            params["triggerBy"] = self.trigger_by
        if self.stop_loss is not None or self.take_profit is not None:
            params["tpslMode"] = "Full"
        if self.stop_loss is not None:
            params["stopLoss"] = plain(self.stop_loss)
            params["slTriggerBy"] = self.stop_trigger_by
        if self.take_profit is not None:
            params["takeProfit"] = plain(self.take_profit)
            params["tpTriggerBy"] = self.stop_trigger_by
        return params

    def check(self) -> None:
        """Raise Rejected, naming the field, for an inconsistent order."""
        if self.side not in {BUY, SELL}:
            raise Rejected(f"An order's side is Buy or Sell, not {self.side!r}.")
        if not _LINK_ID.fullmatch(self.order_link_id):
            raise Rejected(f"orderLinkId {self.order_link_id!r} is not 1 to 36 of A-Za-z0-9_-.")
        for name, value in (("qty", self.qty), ("reference_price", self.reference_price)):
            if not value.is_finite() or value <= 0:
                raise Rejected(f"{self.symbol}: {name} must be above zero, not {value}.")
        for name, level in (
            ("price", self.price),
            ("stop_loss", self.stop_loss),
            ("take_profit", self.take_profit),
            ("trigger_price", self.trigger_price),
        ):
            if level is not None and (not level.is_finite() or level <= 0):
                raise Rejected(f"{self.symbol}: {name} must be above zero, not {level}.")
        if self.reduce_only and (self.stop_loss is not None or self.take_profit is not None):
            raise Rejected(f"{self.symbol}: a reduce-only order carries no stop loss or take profit.")
        if self.trigger_price is not None and self.trigger_direction not in {1, 2}:
            raise Rejected(f"{self.symbol}: a trigger price needs trigger_direction 1 (rises to) or 2 (falls to).")


class StopRequest(Struct, frozen=True, kw_only=True):
    """The stops of a whole position (mode Full). None leaves a level as it is, zero removes it."""

    symbol: str
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    trailing_stop: Decimal | None = None
    active_price: Decimal | None = None
    trigger_by: str = "LastPrice"
    position_idx: int = 0
    category: str = "linear"

    def params(self) -> Params:
        """The parameters of `position/trading-stop`. Raises Rejected when nothing is set."""
        params: Params = {
            "category": self.category,
            "symbol": self.symbol,
            "tpslMode": "Full",
            "positionIdx": self.position_idx,
        }
        levels = {
            "stopLoss": self.stop_loss,
            "takeProfit": self.take_profit,
            "trailingStop": self.trailing_stop,
            "activePrice": self.active_price,
        }
        given = {name: plain(level) for name, level in levels.items() if level is not None}
        if not given:
            raise Rejected(f"{self.symbol}: no stop, target or trailing distance was given.")
        if "stopLoss" in given:
            params["slTriggerBy"] = self.trigger_by
        if "takeProfit" in given:
            params["tpTriggerBy"] = self.trigger_by
        return {**params, **given}


class Placement(Struct, frozen=True, kw_only=True):
    """A successful placement: the exchange has the order. `order` is set when it had to be looked up."""

    order_id: str
    order_link_id: str
    sends: int
    order: Order | None = None

    @property
    def looked_up(self) -> bool:
        """True when an answer was lost and the order was found by its id."""
        return self.order is not None
