"""Resting orders of one bot: sent with their stop, durable before that, and true to the exchange ever after.

What happened is read from the exchange's executions, in its order, from a durable cursor per symbol; so that a lost
answer, a restart or several fills at once leave no doubt. What follows (levels, targets, cancellations) is what the
decision core's `upkeep` says, carried out in the same order as in a back-test.
"""

from alpha.alerts import Level
from alpha.bybit.client import Gateway
from alpha.bybit.errors import CapExceeded, TradingHalted
from alpha.bybit.orders import OrderRequest
from alpha.bybit.place_order import place_order_once
from alpha.bybit.rate_limiter import Priority
from alpha.clock import SYSTEM_CLOCK, BusinessClock, Clock
from alpha.errors import Rejected, Retry, Unknown
from alpha.logs import logger
from alpha.model.execution import Execution
from alpha.model.fill_order import unit_key
from alpha.model.money import ZERO, plain
from alpha.model.order import Order
from alpha.model.order_link import parse_order_link_id
from alpha.model.reason import Reason
from alpha.strategy.core import CloseOrder, DecisionCore, Upkeep
from alpha.strategy.positions import OwnPosition
from alpha.strategy.resting import Phase, RestingOrder, Role
from bot_runner.account import AccountSnapshot
from bot_runner.broker import Broker
from bot_runner.exits import Exits
from bot_runner.order_intents import OrderIntent
from bot_runner.position_reconciler import log_exit
from bot_runner.state import FillCursor
from bot_runner.state_persistence import StatePersistence

log = logger(__name__)
#: Executions may be shown late; so far back in business time they are read again.
OVERLAP_MS = 600_000
#: How often the exchange is asked while no event tells of a change, in milliseconds of wall time.
BEAT_MS = 10_000
#: How long an order must be missing before it never happened, and a size unexplained before it is doubted.
ABSENT_MS = 3_000
UNEXPLAINED_MS = 5_000
_ROUNDS = 10


class RestingOrders:
    """Sends, follows and cancels. Its methods are called by the task that trades."""

    def __init__(
        self,
        core: DecisionCore,
        journal: StatePersistence,
        broker: Broker,
        executor: Exits,
        gateway: Gateway,
        business: BusinessClock,
        *,
        every_time: bool,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`every_time`: ask the exchange at each call (step clock), not only after events and on a beat."""
        self._core = core
        self._journal = journal
        self._broker = broker
        self._executor = executor
        self._gateway = gateway
        self._business = business
        self._every_time = every_time
        self._clock = clock
        self._touched = True
        self._asked_ms = 0
        self._absent_ms: dict[str, int] = {}
        self._unexplained_ms: dict[str, int] = {}

    # --- what others ask ----------------------------------------------------------------------------------------

    def touch(self) -> None:
        """An event of the account came, or may have been missed: the exchange is asked at the next cycle."""
        self._touched = True

    def explains(self, symbol: str) -> bool:
        """True while differences in this symbol are this module's to explain, by executions."""
        if not any(order.symbol == symbol for order in self._core.resting.values()):
            self._unexplained_ms.pop(symbol, None)
            return False
        since_ms = self._unexplained_ms.setdefault(symbol, self._clock.monotonic_ms())
        if self._clock.monotonic_ms() - since_ms < UNEXPLAINED_MS:
            self._touched = True
            return True
        return False

    # --- facts --------------------------------------------------------------------------------------------------

    async def sync(self, look: AccountSnapshot | None = None) -> bool:
        """Tell the core what became of resting orders and of the positions in their symbols; True when it was anything.

        Executions are read for symbols whose orders, or sizes in `look`, are not as they are known.
        """
        core, now_ms = self._core, self._clock.monotonic_ms()
        if not core.resting:
            self._journal.runtime.cursors.clear()
            return False
        if not (self._every_time or self._touched or now_ms - self._asked_ms >= BEAT_MS):
            return False
        self._touched, self._asked_ms = False, now_ms
        there = {order.order_link_id: order for order in await self._gateway.open_orders(rank=Priority.EXIT)}
        rows = [row for symbol in self._changed(there, look) for row in await self._executions(symbol)]
        for row in sorted(rows, key=lambda row: (row.exec_time_ms, row.symbol, row.seq or 0, unit_key(row))):
            self._apply(row)
        if not self._every_time:
            await self._obey_halts()
        before = len(core.resting)
        await self._states(there)
        for symbol in list(self._journal.runtime.cursors):
            if not any(order.symbol == symbol for order in core.resting.values()):
                del self._journal.runtime.cursors[symbol]
        changed = bool(rows) or len(core.resting) != before
        if changed:
            await self._journal.save()
        return changed

    def _changed(self, there: dict[str, Order], look: AccountSnapshot | None) -> list[str]:
        """Symbols in which something happened that executions must explain."""
        changed: set[str] = set()
        for link_id, order in self._by_link().items():
            found = there.get(link_id)
            if order.phase is not Phase.NEW and (found is None or found.cum_exec_qty != order.filled):
                changed.add(order.symbol)
            position = self._core.positions.get(order.symbol)
            held = None if look is None else look.held.get(order.symbol)
            own = ZERO if position is None else position.size * position.direction.sign
            if look is None or own != (ZERO if held is None else held.size * held.direction.sign):
                changed.add(order.symbol)
        return sorted(changed)

    async def _obey_halts(self) -> None:
        """A halt lets no entry through: what rests in its symbol is cancelled."""
        for symbol in {order.symbol for order in self._core.resting.values() if order.role is Role.ENTRY}:
            if await self._journal.store.halt(self._journal.account, symbol, self._business.now_ms()) is not None:
                for order in self._core.entries_of(symbol):
                    order.leaving = True

    async def _executions(self, symbol: str) -> list[Execution]:
        """New executions of a symbol; the cursor moves behind them."""
        cursor = self._journal.runtime.cursors.get(symbol)
        if cursor is None:
            await self._begin(symbol)
            return []
        seen = set(cursor.seen)
        rows = await self._read(symbol, cursor.since_ms)
        self._journal.runtime.cursors[symbol] = self._cursor(rows, cursor.since_ms)
        return [row for row in rows if row.exec_id not in seen]

    async def _begin(self, symbol: str) -> None:
        """Start following a symbol: what was executed before is known already."""
        if symbol not in self._journal.runtime.cursors:
            since_ms = self._business.now_ms() - OVERLAP_MS
            self._journal.runtime.cursors[symbol] = self._cursor(await self._read(symbol, since_ms), since_ms)

    async def _read(self, symbol: str, since_ms: int) -> list[Execution]:
        rows: dict[str, Execution] = {}
        async for page in self._gateway.executions(
            since_ms, self._business.now_ms() + 1, symbol=symbol, rank=Priority.EXIT
        ):
            rows |= {row.exec_id: row for row in page.rows if row.changes_size}
        return list(rows.values())

    def _cursor(self, rows: list[Execution], since_ms: int) -> FillCursor:
        since_ms = max(since_ms, self._business.now_ms() - OVERLAP_MS)
        return FillCursor(since_ms, sorted(row.exec_id for row in rows if row.exec_time_ms >= since_ms))

    def _apply(self, row: Execution) -> None:
        core = self._core
        order = self._by_link().get(row.order_link_id)
        if order is not None and order.role is Role.ENTRY:
            core.entry_filled(order.ref, row.qty, row.price, row.exec_time_ms)
            log.info(
                "entered",
                symbol=row.symbol,
                reason=Reason.ENTRY.value,
                side=row.side,
                qty=plain(row.qty),
                price=plain(row.price),
                why=order.why,
                tag=order.tag,
                time_ms=row.exec_time_ms,
            )
            return
        position = core.positions.get(row.symbol)
        if order is not None:
            if position is not None and core.target_filled(order.ref, row.qty, row.price, row.exec_time_ms):
                position.size = row.qty
                self._gone(position, order.reason, row, order.why)
            return
        link = parse_order_link_id(row.order_link_id)
        if link is not None and link.tag == self._journal.bot.tag:
            return  # a market order of ours, whose outcome is known from itself
        if position is None or row.side != position.direction.closing_side or row.exec_time_ms < position.opened_ms:
            return
        if row.qty < position.size:
            core.reduced(row.symbol, row.qty)
            return
        core.closed(row.symbol, row.exec_time_ms)
        self._gone(position, self._broker.reason_of(row, position.stop_meaning), row, "closed on the exchange")

    def _gone(self, position: OwnPosition, reason: Reason, row: Execution, why: str) -> None:
        self._journal.runtime.exits.pop(position.symbol, None)
        self._journal.runtime.parts.pop(position.symbol, None)
        log_exit(position, reason, row.price, row.exec_time_ms, why)

    async def _states(self, there: dict[str, Order]) -> None:
        """Orders that are not open any more have ended; open ones are as they were sent, or were changed by hand."""
        for link_id, order in self._by_link().items():
            found = there.get(link_id)
            if order.phase is Phase.NEW:
                continue
            if found is None:
                found = await self._gateway.order_by_link_id(order.symbol, link_id, rank=Priority.EXIT)
            if found is None:
                if order.phase is Phase.SENDING and self._surely_absent(link_id):
                    log.info("order_never_happened", symbol=order.symbol, link_id=link_id)
                    self._core.order_ended(order.ref)
            elif found.is_open:
                await self._compare(order, found)
            elif found.cum_exec_qty <= order.filled:
                await self._ended(order, found)
            else:
                order.phase = Phase.OPEN  # its executions are not shown yet
                self._touched = True

    def _surely_absent(self, link_id: str) -> bool:
        now_ms = self._clock.monotonic_ms()
        self._touched = True
        return now_ms - self._absent_ms.setdefault(link_id, now_ms) >= ABSENT_MS

    async def _compare(self, order: RestingOrder, found: Order) -> None:
        order.phase = Phase.OPEN
        price = found.trigger_price if order.trigger else found.price
        if order.role is Role.TARGET and found.qty != order.sent_qty:
            order.sent_qty = found.qty
        by_hand = order.role is Role.ENTRY and found.qty != order.sent_qty
        if price is not None and price != order.sent_price:
            order.price = order.sent_price = price
            by_hand = True
        if by_hand:
            if order.role is Role.ENTRY:
                order.qty = order.sent_qty = found.qty
            await self._journal.warn(
                f"order_amended:{order.symbol}",
                f"The resting {order.role} of {order.symbol} was changed by hand: {plain(found.qty)} at "
                f"{plain(order.price)}. It is followed as it is now.",
                level=Level.WARNING,
            )

    async def _ended(self, order: RestingOrder, found: Order) -> None:
        why = found.reject_reason if found.reject_reason not in ("", "EC_NoError") else found.cancel_type
        log.info("order_ended", symbol=order.symbol, role=order.role.value, status=found.status, why=why, tag=order.tag)
        self._core.order_ended(order.ref)
        if not order.leaving and found.cancel_type == "CancelByUser":
            await self._journal.warn(
                f"order_cancelled:{order.symbol}",
                f"The resting {order.role} of {order.symbol} was cancelled by hand. It is not sent again.",
            )

    def _by_link(self) -> dict[str, RestingOrder]:
        return {self._link(order): order for order in self._core.resting.values()}

    def _link(self, order: RestingOrder) -> str:
        return self._broker.link(order.reason, order.symbol, order.bar_ms, order.intent)

    # --- what follows -------------------------------------------------------------------------------------------

    async def keep_up(self) -> bool:
        """Carry out what the core's upkeep says, until nothing is left of it; True when there was anything.

        While paused no entry rests.
        """
        if self._journal.runtime.paused:
            self.withdraw()
        cancelled: set[str] = set()
        for number in range(_ROUNDS):
            work = self._core.upkeep()
            work.cancels = [order for order in work.cancels if order.ref not in cancelled]
            if not work:
                return number > 0
            cancelled |= {order.ref for order in work.cancels}
            await self._carry_out(work)
            self._touched = True
            await self.sync()
        return True

    def withdraw(self) -> None:
        """Mark every resting entry for cancellation; targets stay with their positions."""
        for order in self._core.resting.values():
            if order.role is Role.ENTRY:
                order.leaving = True

    async def _carry_out(self, work: Upkeep) -> None:
        core = self._core
        for order in work.cancels:
            await self._gateway.cancel(order.symbol, link_id=self._link(order))
        for position in work.protects:
            await self._protect(position)
        sends = [order for order in work.sends if not order.leaving and order.ref in core.resting]
        if sends:
            await self.send(sends)
        for order in work.amends:
            if not order.leaving and order.ref in core.resting:
                await self._amend(order)

    async def _protect(self, position: OwnPosition) -> None:
        """Set the levels of a position that has grown; close it when the market has passed one of them."""
        symbol = position.symbol
        if symbol not in self._core.positions or symbol in self._journal.runtime.exits:
            position.levels_due = False
            return
        levels = position.levels_at(await self._broker.last_price(symbol))
        if isinstance(levels, Reason):
            position.levels_due = False
            close = CloseOrder(symbol, position.direction, position.size, levels, "the market had passed the level")
            now_ms = self._business.now_ms()
            self._executor.plan_exit(close, now_ms - now_ms % self._core.interval_ms, None)
            await self._journal.save()
            await self._executor.work_off_exits()
            return
        await self._broker.protect(symbol, levels)
        position.levels_due = position.trailing_due = False

    async def send(self, orders: list[RestingOrder]) -> None:
        """Send resting orders, one after another, each saved before it is sent."""
        core, journal = self._core, self._journal
        for order in orders:
            await self._begin(order.symbol)
            core.rest(order)
            journal.note_sent(self._link(order))
            journal.note_intent(OrderIntent.of_resting(order, self._link(order)))
        if not await journal.save():
            for order in orders:
                order.phase = Phase.NEW
                if order.role is Role.ENTRY:
                    core.order_ended(order.ref)
                    log.warning("entry_dropped", symbol=order.symbol, why="the state cannot be saved")
            return
        for order in orders:
            await self._send(order)
        self._touched = True
        await journal.save()

    async def _send(self, order: RestingOrder) -> None:
        entry = order.role is Role.ENTRY
        try:
            if entry:
                await self._broker.set_leverage(order.symbol, self._core.rules.leverage)
            await place_order_once(self._gateway, self._request(order))
        except Unknown as fault:
            log.warning("order_outcome_unknown", symbol=order.symbol, why=str(fault))
        except (TradingHalted, CapExceeded, Retry, Rejected) as fault:
            log.warning("order_not_sent", symbol=order.symbol, role=order.role.value, why=str(fault))
            self._core.order_ended(order.ref)
        else:
            order.phase = Phase.OPEN
            log.info(
                "resting",
                symbol=order.symbol,
                role=order.role.value,
                side=order.side,
                qty=plain(order.leaves),
                price=plain(order.price),
                trigger=order.trigger,
                tag=order.tag,
                why=order.why,
            )

    def _request(self, order: RestingOrder) -> OrderRequest:
        reference = order.price if order.decided_price is None else order.decided_price
        return OrderRequest(
            symbol=order.symbol,
            side=order.side,
            qty=order.leaves,
            order_link_id=self._link(order),
            reference_price=reference,
            price=None if order.trigger else order.price,
            time_in_force="PostOnly" if order.post_only else "GTC",
            reduce_only=order.role is Role.TARGET,
            stop_loss=order.stop_loss,
            trigger_price=order.price if order.trigger else None,
            trigger_direction=(1 if order.rising else 2) if order.trigger else 0,
        )

    async def _amend(self, order: RestingOrder) -> None:
        found = await self._gateway.order_by_link_id(order.symbol, self._link(order), rank=Priority.EXIT)
        price, qty = order.price, order.qty
        order.sent_price, order.sent_qty = price, qty
        if found is None or not found.is_open:
            return
        try:
            await self._gateway.amend(
                found,
                reference_price=price,
                price=None if price == found.price else price,
                qty=None if qty == found.qty else qty,
            )
        except Rejected as fault:
            log.warning("target_not_amended", symbol=order.symbol, why=str(fault))
