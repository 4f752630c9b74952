"""The only path to Bybit's REST API: throttled, signed with the exchange's clock, retried by policy, capped.

A gateway belongs to one key. Reads are retried; a write that may have happened is never resent blindly but raises
`WriteUnknown` (`alpha.bybit.place_order.place_order_once` looks the order up by its `orderLinkId`). All methods raise
the errors of `alpha.bybit.errors`, and all can be cancelled while they wait.
"""

from decimal import Decimal

from alpha.bybit import endpoints as at_bybit
from alpha.bybit.caps import OrderGuard
from alpha.bybit.decode import parse_placed
from alpha.bybit.endpoints import Endpoint
from alpha.bybit.errors import OrderGone, SessionClosed
from alpha.bybit.hosts import Hosts
from alpha.bybit.models import PlacedOrder
from alpha.bybit.orders import OrderRequest, Params, StopRequest
from alpha.bybit.rate_limiter import Priority, RateLimiter
from alpha.bybit.reads import LINEAR, SETTLE_COIN, Reads
from alpha.bybit.session import CALL_POLICY, CallCounts, Caller, CallPolicy, Credentials
from alpha.clock import SYSTEM_CLOCK, BusinessClock, Clock
from alpha.errors import Misconfigured, Rejected
from alpha.lease import Act, Fence
from alpha.model.money import plain
from alpha.model.order import Order
from alpha.model.trading_session import closed_text

#: Stands for the return code of an order that was not sent.
NOT_SENT = 0


class Gateway(Reads):
    """All Bybit calls our services make, for one key. `async with` closes it."""

    def __init__(
        self,
        hosts: Hosts,
        credentials: Credentials | None,
        throttle: RateLimiter,
        *,
        account: str,
        guard: OrderGuard | None = None,
        business: BusinessClock | None = None,
        policy: CallPolicy = CALL_POLICY,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`account` names the request budget (the bot's id), equal in all processes. Without `guard` it only reads.

        `credentials` None makes a gateway for market data only. `business` receives the time of every answer.
        """
        super().__init__(
            Caller(
                hosts,
                credentials,
                throttle,
                account=account,
                business=business,
                policy=policy,
                clock=clock,
            )
        )
        self._guard = guard

    async def __aenter__(self) -> "Gateway":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def counts(self) -> CallCounts:
        """Counts of the calls sent so far."""
        return self._caller.counts

    def fence_by(self, fence: Fence) -> None:
        """Check this fence for every further write, at the instant it is signed."""
        self._caller.fence = fence

    @property
    def guard(self) -> OrderGuard:
        """The caps and the halt that every order passes; Misconfigured for a gateway that only reads."""
        if self._guard is None:
            raise Misconfigured(f"The gateway of {self.account} only reads; nothing may be changed through it.")
        return self._guard

    async def create_order(self, order: OrderRequest, *, wait_s: float | None = None) -> PlacedOrder:
        """Send one order, once. The receipt means accepted, not filled.

        Raises the guard's errors; WriteUnknown when it may have arrived; DuplicateOrder when its id is taken;
        Refused or a subclass when it was refused; Retry or a subclass when it certainly did not arrive.
        """
        await self.guard.check(order)
        if order.may_rest and order.stop_loss is None:
            raise Rejected(f"{order.symbol}: an order that can rest and open a position must carry its stop loss.")
        closed = self._closed_session(order.symbol)
        if closed and order.price is None and order.trigger_price is None and not order.reduce_only:
            raise SessionClosed(f"{closed} A market order is not sent then: place a limit order, or wait.", NOT_SENT)
        rank, act = (Priority.EXIT, Act.REDUCE) if order.reduce_only else (Priority.ENTRY, Act.OPEN)
        try:
            result = await self._caller.write(at_bybit.CREATE_ORDER, order.params(), rank, act, wait_s=wait_s)
        except SessionClosed as refusal:
            raise SessionClosed(
                f"{closed or f'{order.symbol} is not traded at this time.'} Bybit takes no market order then "
                f"(retCode {refusal.ret_code}): place a limit order, or wait.",
                refusal.ret_code,
            ) from None
        return parse_placed(result)

    def _closed_session(self, symbol: str) -> str | None:
        """A sentence while the market of this symbol's underlying is closed, as far as its instrument was read."""
        instrument = self.with_sessions.get(symbol)
        if instrument is None or not self.business.known:
            return None
        return closed_text(instrument, self.business.now_ms())

    async def amend(
        self,
        order: Order,
        *,
        reference_price: Decimal,
        qty: Decimal | None = None,
        price: Decimal | None = None,
        trigger_price: Decimal | None = None,
        stop_loss: Decimal | None = None,
        take_profit: Decimal | None = None,
    ) -> None:
        """Amend an open order; the guard checks the order it would become. Raises OrderGone when it is not open."""
        becomes = OrderRequest(
            symbol=order.symbol,
            side=order.side,
            qty=order.qty if qty is None else qty,
            price=order.price if price is None else price,
            order_link_id=order.order_link_id or order.order_id,
            reference_price=reference_price,
            reduce_only=order.reduce_only,
        )
        await self.guard.check(becomes)
        changes = {
            "qty": qty,
            "price": price,
            "triggerPrice": trigger_price,
            "stopLoss": stop_loss,
            "takeProfit": take_profit,
        }
        params: Params = {"category": order.category, "symbol": order.symbol, "orderId": order.order_id}
        params |= {name: plain(value) for name, value in changes.items() if value is not None}
        rank, act = (Priority.EXIT, Act.REDUCE) if order.reduce_only else (Priority.ENTRY, Act.OPEN)
        await self._caller.write(at_bybit.AMEND_ORDER, params, rank, act)

    async def cancel(
        self, symbol: str, *, order_id: str | None = None, link_id: str | None = None, rank: Priority = Priority.EXIT
    ) -> bool:
        """Cancel one order by either id. False when it was no longer open: read its state again."""
        if (order_id is None) == (link_id is None):
            raise ValueError("cancel takes order_id or link_id, one of them")
        params: Params = {"category": LINEAR, "symbol": symbol}
        params |= {"orderId": order_id} if order_id is not None else {"orderLinkId": link_id or ""}
        try:
            await self._set(at_bybit.CANCEL_ORDER, params, rank, Act.REDUCE)
        except OrderGone:
            return False
        return True

    async def cancel_all(self, symbol: str | None = None, *, rank: Priority = Priority.EXIT) -> None:
        """Cancel the open orders (at most 500), including conditional ones and stops, of a symbol or of all of USDT."""
        params: Params = {"category": LINEAR}
        params |= {"symbol": symbol} if symbol else {"settleCoin": SETTLE_COIN}
        await self._set(at_bybit.CANCEL_ALL, params, rank, Act.REDUCE)

    async def set_trading_stop(self, stop: StopRequest, *, missing: bool = False) -> None:
        """Set, move or remove the stops of a whole position. Stops already at these levels count as set.

        `missing`: the position has no stop, so this can only protect it and is allowed without PostgreSQL.
        """
        await self._set(at_bybit.TRADING_STOP, stop.params(), Priority.STOP, Act.REDUCE if missing else Act.CHANGE)

    async def set_leverage(self, symbol: str, leverage: Decimal) -> None:
        """Set the leverage of both sides of a symbol. A leverage already in force counts as set."""
        text = plain(leverage)
        params: Params = {"category": LINEAR, "symbol": symbol, "buyLeverage": text, "sellLeverage": text}
        await self._set(at_bybit.SET_LEVERAGE, params, Priority.ENTRY, Act.CHANGE)

    async def switch_to_one_way(self, coin: str = SETTLE_COIN) -> None:
        """Switch all symbols of a coin to one-way mode. Refused (110024, 110028) while positions or orders are open."""
        await self._set(at_bybit.SWITCH_MODE, {"category": LINEAR, "coin": coin, "mode": 0}, Priority.ENTRY, Act.CHANGE)

    async def set_margin_mode(self, mode: str) -> None:
        """Set the account's margin mode: ISOLATED_MARGIN, REGULAR_MARGIN or PORTFOLIO_MARGIN."""
        await self._set(at_bybit.SET_MARGIN_MODE, {"setMarginMode": mode}, Priority.ENTRY, Act.CHANGE)

    async def _set(self, endpoint: Endpoint, params: Params, rank: Priority, act: Act) -> None:
        self.guard.check_write()
        await self._caller.write(endpoint, params, rank, act)


def market_gateway(gateway_hosts: Hosts, throttle: RateLimiter) -> Gateway:
    """A gateway without a key: market data only."""
    return Gateway(gateway_hosts, None, throttle, account="market")
