"""Closes the positions of one account until the exchange confirms that nothing is left. Survives a crash.

    1  cancel the orders that could still open or add to a position
    2  close each position by reduce-only market orders, in slices within the order caps
    3  read positions and orders again; anything left goes back to 1
    4  done when the exchange has reported "flat, no orders" throughout the confirmation period

Every order is reduce-only, so repeating a step can never reverse a position. The attempt number is written to
PostgreSQL by write-behind, started before its order is sent; nothing waits for it. After a crash, an attempt whose
number was not durable yet is found by its order id as already sent, and the size of the next is read again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal

import msgspec

from alpha.bybit.errors import NothingToClose, OrderGone, Refused, SessionClosed
from alpha.bybit.orders import OrderRequest
from alpha.bybit.place_order import place_order_once
from alpha.bybit.rate_limiter import Priority
from alpha.clock import SYSTEM_CLOCK, Clock
from alpha.errors import AlphaError, Misconfigured, Rejected
from alpha.logs import logger
from alpha.model.coin import SETTLE_COINS
from alpha.model.leg import BOTH, slot_of, split_slot
from alpha.model.money import plain
from alpha.model.order import Order
from alpha.model.order_link import guard_order_link_id
from alpha.model.position import Position
from alpha.model.reason import Reason
from alpha.model.side import BUY, SELL
from alpha.model.sizing import closing_slice
from risk_guard.account import GuardedAccount

log = logger(__name__)
Tell = Callable[[str], Awaitable[None]]

_PAUSE_S = 0.25
_LOOK_S = 1.0
_FAULT_PAUSE_S = 0.5
#: A closing that makes no progress for this long is reported, and reported again.
HINDERED_S = 15.0
#: If Bybit refuses a symbol's orders for their parameters for this long, it would refuse them forever.
REFUSED_S = 30.0
_PARAMETER_ERROR = 10001
#: While only positions are left whose market is closed (stocks, forex, commodities), they are tried so often.
SESSION_PAUSE_S = 30.0


class ClosingRefused(Rejected):
    """Bybit refuses the parameters of a single-symbol closing: it would refuse the same request again."""


class ClosingState(msgspec.Struct):
    """What must survive a restart: the command, the symbol (None: all), the reason, the number of orders sent.

    `symbol` may name one leg of hedge mode (`BTCUSDT:long`).
    """

    command_id: str
    reason: Reason
    issuer: str
    symbol: str | None = None
    halted: bool = True  # False: one position whose stop was passed; no halt, and it need not stay flat
    attempts: int = 0
    closed: dict[str, str] = msgspec.field(default_factory=dict)


class Closing:
    """One closing of one account. `save` queues its state to be made durable; nothing waits for that.

    `tell` receives progress; `hindered` receives what blocks the closing, once that has lasted.
    """

    def __init__(
        self,
        account: GuardedAccount,
        state: ClosingState,
        *,
        confirm_s: float,
        save: Callable[[ClosingState], object],
        tell: Tell,
        hindered: Tell,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.state = state
        self.flat_after_s: float | None = None
        self._account = account
        self._confirm_s = confirm_s
        self._save = save
        self._tell = tell
        self._hindered = hindered
        self._clock = clock
        self._told: set[str] = set()
        self._refused_since_s: float | None = None

    async def run(self) -> str:
        """Close until the account stays flat; returns the report.

        Two errors end it early: Misconfigured (a key that may not trade) and, when closing one symbol,
        ClosingRefused. Closing a whole account never gives up on a refusal.
        """
        began_s = self._clock.monotonic_s()
        flat_since_s: float | None = None
        hindered_since_s: float | None = None
        while True:
            try:
                left = await self._round()
            except (Misconfigured, ClosingRefused):
                raise
            except SessionClosed as fault:
                # the limit, or the next open, is all that helps: nothing is wrong, and nobody is told again and again
                flat_since_s = None
                self._refused_since_s = None
                if str(fault) not in self._told:
                    self._told.add(str(fault))
                    await self._hindered(
                        f"{self._account.bot.id}: not closed yet: {fault} It is closed once the market opens."
                    )
                await self._clock.sleep(SESSION_PAUSE_S)
                continue
            except AlphaError as fault:
                # 10006, 5xx, a lost answer, a refused order: read again and continue.
                log.warning("closing_hindered", bot=self._account.bot.id, fault=str(fault))
                flat_since_s = None
                now_s = self._clock.monotonic_s()
                self._give_up_when_refused(fault, now_s)
                hindered_since_s = now_s if hindered_since_s is None else hindered_since_s
                if now_s - hindered_since_s >= HINDERED_S:
                    hindered_since_s = now_s
                    await self._hindered(f"{self._account.bot.id}: closing fails: {fault} It is tried again.")
                await self._clock.sleep(_FAULT_PAUSE_S)
                continue
            now_s, hindered_since_s, self._refused_since_s = self._clock.monotonic_s(), None, None
            if left:
                flat_since_s = None
                await self._clock.sleep(_PAUSE_S)
                continue
            if flat_since_s is None:
                flat_since_s = now_s
                if self.flat_after_s is None:
                    self.flat_after_s = now_s - began_s
                    await self._say(
                        f"{self._account.bot.id}: flat after {self.flat_after_s:.1f} s; watching that it stays so."
                    )
            if now_s - flat_since_s >= self._confirm_s:
                return self._report()
            await self._clock.sleep(_LOOK_S)

    def _give_up_when_refused(self, fault: AlphaError, now_s: float) -> None:
        if self.state.symbol is None or not isinstance(fault, Refused) or fault.ret_code != _PARAMETER_ERROR:
            self._refused_since_s = None
            return
        self._refused_since_s = now_s if self._refused_since_s is None else self._refused_since_s
        if now_s - self._refused_since_s >= REFUSED_S:
            raise ClosingRefused(f"Bybit refuses every order for {self.state.symbol}: {fault}")

    async def _round(self) -> bool:
        """One snapshot and the actions that follow; False when the exchange reports flat and no orders."""
        gateway = self._account.gateway
        symbol, leg = (None, BOTH) if self.state.symbol is None else split_slot(self.state.symbol)
        try:
            rows = await gateway.positions(symbol, coins=SETTLE_COINS, rank=Priority.EXIT)
            positions = [row for row in rows if not row.is_flat and leg in (BOTH, row.leg)]
            orders = await gateway.open_orders(symbol, coins=SETTLE_COINS, rank=Priority.EXIT)
            orders = [order for order in orders if leg in (BOTH, order.leg)]
        except Refused as refusal:
            if symbol is None:
                raise
            raise ClosingRefused(f"Bybit refuses {symbol}: {refusal}") from None
        held = {row.slot for row in positions}
        # The stop of an open position protects it until the position is closed.
        waiting = [order for order in orders if not (slot_of(order.symbol, order.leg) in held and _protects(order))]
        steps = [self._cancel(order) for order in waiting] + [self._close(position) for position in positions]
        # A refusal for one position must not prevent the others from being closed.
        faults = [
            each for each in await asyncio.gather(*steps, return_exceptions=True) if isinstance(each, BaseException)
        ]
        waits = [fault for fault in faults if isinstance(fault, SessionClosed)]
        if others := [fault for fault in faults if fault not in waits]:
            raise others[0]
        if waits and len(waits) == len(positions):
            raise waits[0]
        return bool(positions or orders)

    async def _cancel(self, order: Order) -> None:
        try:
            await self._account.gateway.cancel(order.symbol, order_id=order.order_id)
        except OrderGone:
            return

    async def _close(self, position: Position) -> None:
        account, state = self._account, self.state
        reference = await self._reference(position)
        instrument = await account.instrument(position.symbol)
        qty = closing_slice(position.size, account.max_order_usdt / reference, instrument)
        state.attempts += 1
        attempt = state.attempts
        self._save(state)
        request = OrderRequest(
            symbol=position.symbol,
            side=BUY if position.side == SELL else SELL,
            qty=qty,
            order_link_id=guard_order_link_id(
                state.reason,
                account=account.text,
                symbol=position.symbol,
                command_id=state.command_id,
                attempt=attempt,
            ),
            reference_price=reference,
            reduce_only=True,
            position_idx=position.position_idx,
        )
        try:
            await place_order_once(account.gateway, request, clock=self._clock)
        except NothingToClose:
            return
        side = "long" if position.side == BUY else "short"
        state.closed.setdefault(position.slot, f"{side} {plain(position.size)} at {plain(position.entry_price)}")
        await self._say(f"{account.bot.id}: closing {position.symbol}, {side} {plain(position.size)}.")

    async def _reference(self, position: Position) -> Decimal:
        if position.mark_price:
            return position.mark_price
        return (await self._account.gateway.tickers(position.symbol, rank=Priority.EXIT))[
            position.symbol
        ].reference_price

    async def _say(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            await self._tell(text)

    def _report(self) -> str:
        name = self._account.bot.id
        if not self.state.closed:
            return f"{name}: nothing was open; the exchange has said flat for {self._confirm_s:.0f} s."
        closed = "; ".join(f"{symbol} {what}" for symbol, what in sorted(self.state.closed.items()))
        return f"{name}: closed {closed}. The exchange has said flat, with no orders, for {self._confirm_s:.0f} s."


def _protects(order: Order) -> bool:
    """True for a stop-loss, take-profit or trailing-stop order that the exchange created for a position."""
    return order.stop_order_type in {
        "StopLoss",
        "TakeProfit",
        "TrailingStop",
        "PartialStopLoss",
        "PartialTakeProfit",
    }
