"""Orders and stops of one bot: sent once, their outcome known before anything else is done."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from alpha.bybit.client import Gateway
from alpha.bybit.errors import Refused, WriteUnknown
from alpha.bybit.orders import OrderRequest, StopRequest
from alpha.bybit.place_order import place_order_once
from alpha.bybit.rate_limiter import Priority
from alpha.clock import SYSTEM_CLOCK, Clock
from alpha.errors import Retry
from alpha.model.execution import Execution
from alpha.model.instrument import Instrument
from alpha.model.order import Order
from alpha.model.order_link import GUARD_TAG, order_link_id, parse_order_link_id
from alpha.model.reason import Reason, reason_of_exchange
from alpha.model.side import Direction
from alpha.model.sizing import closing_slice
from alpha.registry import Bot
from alpha.strategy.positions import Protection

_OUTCOME_PAUSES_S = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0)
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Filled:
    """The result of an order: quantity and average price, at exchange time `time_ms`. Zero quantity: nothing was filled."""

    qty: Decimal
    average: Decimal
    time_ms: int
    status: str
    reject_reason: str


@dataclass(frozen=True, slots=True)
class Gone:
    """How a position ended: why, at what average price, when its last closing execution was."""

    reason: Reason
    average: Decimal
    time_ms: int


class Broker:
    """Sends for one bot on one account."""

    def __init__(
        self,
        gateway: Gateway,
        bot: Bot,
        account: str,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`account` names the account in order ids (environment:userID)."""
        self._gateway = gateway
        self._bot = bot
        self._account = account
        self._clock = clock
        self.instruments: dict[str, Instrument] = {}
        self._leveraged: set[str] = set()

    async def refresh_instruments(self, symbol: str | None = None) -> None:
        """Read the filters of all symbols, or of one."""
        self.instruments |= await self._gateway.instruments(symbol, rank=Priority.ENTRY)

    async def renew_instrument(self, symbol: str) -> None:
        """Reload the filters of one symbol; dropped once the exchange no longer lists it."""
        try:
            await self.refresh_instruments(symbol)
        except Refused:
            self.instruments.pop(symbol, None)

    def instrument(self, symbol: str) -> Instrument | None:
        """The filters of a symbol, None when the exchange does not list it."""
        return self.instruments.get(symbol)

    def link(self, reason: Reason, symbol: str, bar_ms: int, intent: str, attempt: int = 1) -> str:
        """The id of the order for one intent: always the same for the same intent."""
        return order_link_id(
            self._bot.tag, reason, account=self._account, symbol=symbol, bar_ms=bar_ms, intent=intent, attempt=attempt
        )

    async def set_leverage(self, symbol: str, leverage: Decimal) -> None:
        """State the leverage of a symbol, once a process."""
        if symbol not in self._leveraged:
            await self._gateway.set_leverage(symbol, leverage)
            self._leveraged.add(symbol)

    async def open(
        self, symbol: str, direction: Direction, qty: Decimal, link_id: str, reference: Decimal, stop_loss: Decimal
    ) -> Filled:
        """A market order that opens a position and carries its stop; returns when it is terminal."""
        request = OrderRequest(
            symbol=symbol,
            side=direction.value,
            qty=qty,
            order_link_id=link_id,
            reference_price=reference,
            stop_loss=stop_loss,
        )
        await place_order_once(self._gateway, request)
        return await self.outcome(symbol, link_id, Priority.ENTRY)

    async def close(
        self,
        symbol: str,
        direction: Direction,
        qty: Decimal,
        reference: Decimal,
        reason: Reason,
        bar_ms: int,
        attempt: int,
        note: Callable[[str], None],
        *,
        intent: str = "exit",
    ) -> Filled:
        """One reduce-only market order of `qty`, at most what caps and the symbol allow; terminal when it returns.

        `note` is told the id before it is sent. Raises alpha.bybit.errors.NothingToClose when there is no such position any more.
        """
        link_id = self.link(reason, symbol, bar_ms, intent, attempt)
        note(link_id)
        request = OrderRequest(
            symbol=symbol,
            side=direction.closing_side,
            qty=closing_slice(qty, self._gateway.guard.caps.max_order_usdt / reference, self.instruments.get(symbol)),
            order_link_id=link_id,
            reference_price=reference,
            reduce_only=True,
        )
        await place_order_once(self._gateway, request)
        return await self.outcome(symbol, link_id, Priority.EXIT)

    async def outcome(self, symbol: str, link_id: str, rank: Priority) -> Filled:
        """The result of an order that was sent. WriteUnknown if it cannot be determined: look it up before doing anything else."""
        unread: Retry | None = None
        for pause_s in _OUTCOME_PAUSES_S:
            if pause_s:
                await self._clock.sleep(pause_s)
            try:
                order = await self._gateway.order_by_link_id(symbol, link_id, rank=rank)
            except Retry as fault:
                unread = fault
                continue
            if order is not None and not order.is_open:
                return _filled(order)
        raise WriteUnknown(f"{symbol}: the outcome of {link_id} is not known yet. {unread or ''}".strip())

    async def known(self, symbol: str, link_id: str) -> Filled | None:
        """The outcome of an order of an earlier process, None when the exchange never had it."""
        order = await self._gateway.order_by_link_id(symbol, link_id, rank=Priority.EXIT)
        if order is None:
            return None
        return _filled(order) if not order.is_open else await self.outcome(symbol, link_id, Priority.EXIT)

    async def protect(self, symbol: str, levels: Protection, *, missing: bool = False) -> None:
        """Set all levels of a position at once; `missing`: it has no stop now. Refused when the market has passed one."""
        await self._gateway.set_trading_stop(
            StopRequest(
                symbol=symbol,
                stop_loss=levels.stop_loss,
                take_profit=levels.take_profit,
                trailing_stop=levels.trailing_distance,
                active_price=levels.active_price,
            ),
            missing=missing,
        )

    async def move_stop(self, symbol: str, price: Decimal) -> None:
        """Move the plain stop. Refused when the market has passed it."""
        await self._gateway.set_trading_stop(StopRequest(symbol=symbol, stop_loss=price))

    async def last_price(self, symbol: str) -> Decimal:
        """The last price now."""
        return (await self._gateway.tickers(symbol, rank=Priority.EXIT))[symbol].last

    async def how_it_ended(
        self, symbol: str, direction: Direction, since_ms: int, now_ms: int, meaning: Reason
    ) -> Gone | None:
        """How a position opened at `since_ms` was closed; `meaning` is that of its plain stop. None when not shown yet."""
        rows: list[Execution] = []
        async for page in self._gateway.executions(
            max(since_ms, now_ms - 700 * _DAY_MS), now_ms + 1, symbol=symbol, rank=Priority.EXIT
        ):
            rows.extend(row for row in page.rows if row.changes_size and row.side == direction.closing_side)
        if not rows:
            return None
        last = max(rows, key=lambda row: (row.exec_time_ms, row.seq or 0))
        closing = [row for row in rows if row.order_id == last.order_id]
        qty = sum((row.qty for row in closing), Decimal(0))
        value = sum((row.value for row in closing), Decimal(0))
        return Gone(self.reason_of(last, meaning), value / qty, last.exec_time_ms)

    def reason_of(self, row: Execution, meaning: Reason) -> Reason:
        """Why an execution closed a position; `meaning` is that of the position's plain stop."""
        made = reason_of_exchange(row.exec_type, row.create_type, row.stop_order_type)
        if made is Reason.STOP_LOSS:
            return meaning
        if made is not None:
            return made
        link = parse_order_link_id(row.order_link_id)
        return link.reason if link is not None and link.tag in {self._bot.tag, GUARD_TAG} else Reason.MANUAL


def _filled(order: Order) -> Filled:
    average = order.avg_price
    if order.cum_exec_qty and not average:
        average = order.cum_exec_value / order.cum_exec_qty
    return Filled(order.cum_exec_qty, average or Decimal(0), order.updated_ms, order.status, order.reject_reason)
