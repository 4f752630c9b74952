"""Orders and positions missing from the saved state because PostgreSQL lost them: adopted, or cancelled.

Every entry is saved before it is sent. A restore from a backup, or a failover to a standby that lagged behind, can still
lose what was saved last. What was sent by then is on the exchange, and an order id is a digest of account, symbol, bar and
intent (`alpha.model.order_link`): computed again from the time at which an order was made, it proves whose order it was.

| found on the exchange, and not known | what happens |
|---|---|
| a position that only the bot's own entries opened | adopted, with the stop that it has there; an alert says so |
| a known position that own entries have enlarged, or closed and opened anew | followed as it is there |
| a resting entry of the bot's own | cancelled: nobody knows how long it was meant to rest |
| anything else | left alone, with an alert (`position_reconciler`) |

Only orders of an earlier process count. One made later that this process did not send is somebody else's
(`foreign_orders`).
"""

from decimal import Decimal

from alpha.alerts import Level
from alpha.bybit.client import Gateway
from alpha.bybit.rate_limiter import Priority
from alpha.clock import BusinessClock
from alpha.logs import logger
from alpha.model.execution import Execution
from alpha.model.fill_order import oldest_first
from alpha.model.money import plain
from alpha.model.order import Order
from alpha.model.order_link import parse_order_link_id
from alpha.model.reason import Reason
from alpha.strategy.core import DecisionCore
from alpha.strategy.outcomes import intent_of_entry
from alpha.strategy.positions import OwnPosition
from bot_runner.account import Held
from bot_runner.broker import Broker
from bot_runner.state_persistence import StatePersistence

log = logger(__name__)
#: How far back the fills that opened a position are looked for, where the exchange does not say when it was opened.
_BACK_MS = (86_400_000, 7 * 86_400_000, 30 * 86_400_000)
#: An order is made shortly after its bar has closed; on a simulated market a few bars may pass.
_BARS_BACK = 6
#: Entries of one symbol at one bar.
_MOST_ENTRIES = 10
_REMEDY = (
    "PostgreSQL has lost what was saved last: look whether it was restored, and whether a standby lagged behind. "
    "The listener fetches the record again by itself."
)


class LostState:
    """Looks after one account. Its methods are called by the task that trades; they raise the gateway's errors."""

    def __init__(
        self, core: DecisionCore, journal: StatePersistence, broker: Broker, gateway: Gateway, business: BusinessClock
    ) -> None:
        self._core = core
        self._journal = journal
        self._broker = broker
        self._gateway = gateway
        self._business = business
        self._began_ms = business.now_ms() if business.known else 0
        self._cleared = False

    # --- positions ----------------------------------------------------------------------------------------------

    async def adopt(self, held: Held) -> bool:
        """Take over a position that is not known, or not as it is, when only own entries opened it. False: it is not."""
        known = self._core.positions.get(held.symbol)
        found = await self._own(held)
        if found is None:
            return False
        if known is not None and found.opened_ms <= known.opened_ms:
            known.size, known.entry_price, known.adds = found.size, found.entry_price, found.adds
        else:
            self._core.positions[held.symbol] = found
        self._journal.runtime.exits.pop(held.symbol, None)
        self._journal.runtime.parts.pop(held.symbol, None)
        await self._journal.save()
        side, symbol = held.direction.name.lower(), held.symbol
        log.warning("position_adopted", symbol=symbol, side=side, size=plain(held.size), opened_ms=found.opened_ms)
        await self._journal.warn(
            f"adopted:{symbol}",
            f"{self._journal.bot.name} did not remember its own position: {side} {plain(held.size)} {symbol} at "
            f"{plain(held.entry_price)}. The ids of its orders prove that it is its own; it is adopted, with the stop at "
            f"{plain(found.stop_loss)}.",
            _REMEDY,
            Level.WARNING,
        )
        return True

    async def _own(self, held: Held) -> OwnPosition | None:
        """The position as the bot's own, None when an order of somebody else had a part in opening it."""
        rows = await self._since_flat(held)
        opening = [row for row in rows if row.side == held.direction.value]
        made: dict[str, Order] = {}
        for row in opening:
            if row.order_link_id not in made:
                order = await self._own_entry(row)
                if order is None:
                    return None
                made[row.order_link_id] = order
        if not made:
            return None
        first = min(row.exec_time_ms for row in opening)
        stop = held.stop_loss or next((order.stop_loss for order in made.values() if order.stop_loss is not None), None)
        if stop is None:
            return None
        rows_there = await self._gateway.positions(held.symbol, rank=Priority.EXIT)
        there = next((row for row in rows_there if not row.is_flat), None)
        return OwnPosition(
            symbol=held.symbol,
            direction=held.direction,
            size=held.size,
            entry_price=held.entry_price,
            opened_ms=first,
            opened_bar_ms=first - first % self._core.interval_ms,
            stop_loss=stop,
            take_profit=None if there is None else there.take_profit,
            trailing_distance=None if there is None else there.trailing_stop,
            adds=len(made) - 1,
        )

    async def _since_flat(self, held: Held) -> list[Execution]:
        """The fills that made the position out of nothing, newest first; empty when they do not explain it exactly."""
        now_ms = self._business.now_ms()
        asked = _BACK_MS if held.opened_ms is None else (now_ms - held.opened_ms + 60_000,)
        for back_ms in asked:
            rows: dict[str, Execution] = {}
            async for page in self._gateway.executions(
                now_ms - back_ms, now_ms + 1, symbol=held.symbol, rank=Priority.EXIT
            ):
                rows |= {row.exec_id: row for row in page.rows if row.changes_size}
            left, taken = held.size, []
            for row in reversed(oldest_first(rows.values())):
                left -= row.qty if row.side == held.direction.value else -row.qty
                taken.append(row)
                if left <= 0:
                    return taken if not left else []
        return []

    async def _own_entry(self, row: Execution) -> Order | None:
        """The order of an opening fill, when it is an entry of an earlier process of this bot."""
        link = parse_order_link_id(row.order_link_id)
        if link is None or link.tag != self._journal.bot.tag or link.reason is not Reason.ENTRY:
            return None
        order = await self._gateway.order_by_link_id(row.symbol, row.order_link_id, rank=Priority.EXIT)
        return order if order is not None and self._is_own(order) and self._is_earlier(order) else None

    def _is_own(self, order: Order) -> bool:
        """True when its id is that of an entry of this account at a bar before it was made."""
        interval_ms = self._core.interval_ms
        bar_ms = order.created_ms - order.created_ms % interval_ms
        return any(
            self._broker.link(Reason.ENTRY, order.symbol, bar_ms - back * interval_ms, intent_of_entry(number))
            == order.order_link_id
            for back in range(_BARS_BACK)
            for number in range(_MOST_ENTRIES)
        )

    def _is_earlier(self, order: Order) -> bool:
        journal = self._journal
        return (
            order.created_ms <= self._began_ms
            or journal.has_sent(order.order_link_id)
            or bool(journal.lease.settles_in_ms)
        )

    # --- orders -------------------------------------------------------------------------------------------------

    async def clear_orders(self) -> None:
        """Cancel resting entries that are not known; at the start, and again until none of an earlier process can arrive."""
        if self._cleared:
            return
        arriving = bool(self._journal.lease.settles_in_ms)
        known = {
            self._broker.link(order.reason, order.symbol, order.bar_ms, order.intent)
            for order in self._core.resting.values()
        }
        known |= {pending.link_id for pending in self._journal.runtime.entries.values()}
        for order in await self._gateway.open_orders(rank=Priority.EXIT):
            link = parse_order_link_id(order.order_link_id)
            if link is None or link.tag != self._journal.bot.tag or order.reduce_only or order.order_link_id in known:
                continue
            if self._is_own(order) and self._is_earlier(order):
                await self._cancel(order)
        self._cleared = not arriving

    async def _cancel(self, order: Order) -> None:
        await self._gateway.cancel(order.symbol, link_id=order.order_link_id)
        log.warning("unknown_entry_cancelled", symbol=order.symbol, link_id=order.order_link_id)
        price = order.price or order.trigger_price or Decimal(0)
        await self._journal.warn(
            f"unknown_entry:{order.symbol}",
            f"{self._journal.bot.name} did not remember its own resting entry: {order.side} {plain(order.leaves_qty)} "
            f"{order.symbol} at {plain(price)}. It is cancelled.",
            _REMEDY,
            Level.WARNING,
        )
