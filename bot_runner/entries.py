"""Carrying out entries: sent once, protected at once, or closed again."""

import asyncio

from alpha.alerts import Level
from alpha.bybit.errors import CapExceeded, Refused, TradingHalted
from alpha.clock import SYSTEM_CLOCK, Clock
from alpha.errors import Rejected, Retry, Unknown
from alpha.lease import CLOCK_ERROR_MS, MOST_WINDOW_MS, STAMP_AHEAD_MS, LeaseNotHeld
from alpha.logs import logger
from alpha.model.instrument import Instrument
from alpha.model.money import plain
from alpha.model.reason import Reason
from alpha.strategy.core import CloseOrder, DecisionCore, EntryOrder
from alpha.strategy.positions import OwnPosition, protection_of
from bot_runner.account import AccountView
from bot_runner.broker import Broker, Filled
from bot_runner.exits import Exits
from bot_runner.order_intents import OrderIntent
from bot_runner.state import PendingEntry
from bot_runner.state_persistence import StatePersistence

log = logger(__name__)
_PROTECT_TRIES = 3
#: How long an order must be missing from the exchange's lists before it never happened, in milliseconds: by then whatever
#: was signed for it has expired.
ABSENT_MS = MOST_WINDOW_MS + STAMP_AHEAD_MS + CLOCK_ERROR_MS


class Entries:
    """Enters for one bot."""

    def __init__(
        self,
        core: DecisionCore,
        journal: StatePersistence,
        broker: Broker,
        view: AccountView,
        executor: Exits,
        clock: Clock = SYSTEM_CLOCK,
        *,
        absent_ms: int = ABSENT_MS,
    ) -> None:
        """`executor` closes what cannot be protected.

        `absent_ms`: after how long an order that the exchange does not show never happened.
        """
        self._core = core
        self._journal = journal
        self._broker = broker
        self._view = view
        self._executor = executor
        self._clock = clock
        self._absent_after_ms = absent_ms
        self._absent_ms: dict[str, int] = {}

    async def read_filters(self, symbols: list[str]) -> None:
        """Reload the filters of these symbols: tick or step size may have changed, or a delisting been announced."""
        await asyncio.gather(*(self._broker.renew_instrument(symbol) for symbol in symbols))

    async def send(self, orders: list[EntryOrder]) -> None:
        """Send entries, one after another. The caller has checked that entries are allowed."""
        runtime = self._journal.runtime
        pendings: list[tuple[EntryOrder, PendingEntry]] = []
        for order in orders:
            link_id = self._broker.link(Reason.ENTRY, order.enter.symbol, order.bar_ms, order.intent)
            pending = PendingEntry.of(order, link_id)
            runtime.entries[order.enter.symbol] = pending
            self._journal.note_sent(link_id)
            self._journal.note_intent(OrderIntent.of_entry(order, link_id))
            pendings.append((order, pending))
        if not await self._journal.save():
            for order, _ in pendings:
                runtime.entries.pop(order.enter.symbol, None)
                log.warning("entry_dropped", symbol=order.enter.symbol, why="the state cannot be saved")
            return
        for order, pending in pendings:
            await self._enter(order, pending)
        await self._journal.save()

    async def _enter(self, order: EntryOrder, pending: PendingEntry) -> None:
        symbol = order.enter.symbol
        entries = self._journal.runtime.entries
        try:
            await self._broker.set_leverage(symbol, self._core.rules.leverage)
            filled = await self._broker.open(
                symbol, order.enter.direction, order.qty, pending.link_id, order.price, order.stop_loss
            )
        except Unknown as fault:
            log.warning("entry_outcome_unknown", symbol=symbol, why=str(fault))
            return
        except (TradingHalted, CapExceeded, Retry) as fault:
            entries.pop(symbol, None)
            log.warning("entry_not_sent", symbol=symbol, why=str(fault))
            return
        except Rejected as fault:
            entries.pop(symbol, None)
            log.warning("entry_refused", symbol=symbol, why=str(fault))
            return
        await self._entered(order, pending, filled)

    async def resolve(self) -> None:
        """Learn what became of entries whose outcome is not known, from the exchange, by their ids."""
        entries = self._journal.runtime.entries
        for symbol, pending in list(entries.items()):
            try:
                filled = await self._broker.known(symbol, pending.link_id)
            except (Retry, Unknown) as fault:
                log.warning("entry_outcome_unknown", symbol=symbol, why=str(fault))
                continue
            if filled is None and not self._surely_absent(pending.link_id):
                continue
            instrument = self._broker.instrument(symbol)
            if filled is None or not filled.qty or instrument is None:
                entries.pop(symbol, None)
                log.info("entry_never_happened", symbol=symbol, link_id=pending.link_id)
            else:
                order = EntryOrder(
                    pending.enter(),
                    pending.qty,
                    pending.stop_loss,
                    pending.price,
                    pending.bar_ms,
                    pending.close_ms,
                    instrument,
                )
                await self._entered(order, pending, filled)
            await self._journal.save()

    def _surely_absent(self, link_id: str) -> bool:
        """True once an order has been absent for so long that the exchange can no longer accept it."""
        now_ms = self._clock.boottime_ms()
        first_ms = self._absent_ms.setdefault(link_id, now_ms)
        return now_ms - first_ms >= self._absent_after_ms and not self._journal.lease.settles_in_ms

    async def _entered(self, order: EntryOrder, pending: PendingEntry, filled: Filled) -> None:
        symbol = order.enter.symbol
        self._journal.runtime.entries.pop(symbol, None)
        if not filled.qty:
            log.warning("entry_not_filled", symbol=symbol, status=filled.status, why=filled.reject_reason)
            return
        levels = self._core.opened(order, filled.average, filled.qty, filled.time_ms)
        position = self._core.positions[symbol]
        if position.levels_due:
            log.info("added", symbol=symbol, qty=plain(filled.qty), price=plain(filled.average), why=pending.why)
            return  # its levels are set with the resting orders' upkeep
        log.info(
            "entered",
            symbol=symbol,
            reason=Reason.ENTRY.value,
            side=order.enter.direction.value,
            qty=plain(filled.qty),
            price=plain(filled.average),
            stop_loss=plain(levels.stop_loss),
            take_profit=None if levels.take_profit is None else plain(levels.take_profit),
            why=pending.why,
            time_ms=filled.time_ms,
        )
        await self._protect(position, order)

    async def _protect(self, position: OwnPosition, order: EntryOrder) -> None:
        """Put the levels on the exchange; a position that cannot be protected is closed again at once.

        Without the lease it keeps the stop that its entry carried: whoever holds the lease sets the rest.
        """
        try:
            fault = await self._set_levels(position, order)
        except LeaseNotHeld:
            self._executor.plan_levels(position, order.bar_ms)
            await self._journal.save()
            return
        if fault is not None:
            await self._leave_unprotected(position, order, Reason.STOP_LOSS, f"its stop could not be set: {fault}")
            return
        try:
            await self._check_liquidation(position, order)
        except Retry as unread:
            log.warning("liquidation_price_not_read", symbol=position.symbol, why=str(unread))

    async def _set_levels(self, position: OwnPosition, order: EntryOrder) -> str | None:
        """None when they are set, else why not. After a refusal once more, by the symbol's filters of that moment."""
        why, refused = "", False
        for _ in range(_PROTECT_TRIES):
            try:
                await self._broker.protect(position.symbol, position.levels)
            except Refused as fault:
                why = str(fault)
                if refused:
                    return why
                refused = True
                instrument = await self._filters_now(position.symbol) or order.instrument
                levels = protection_of(order.enter, position.entry_price, instrument)
                position.stop_loss, position.take_profit = levels.stop_loss, levels.take_profit
                position.trailing_distance, position.active_price = levels.trailing_distance, levels.active_price
            except LeaseNotHeld:
                raise
            except (Retry, Unknown) as fault:
                why = str(fault)
            else:
                position.trailing_due = False
                return None
        return why

    async def _filters_now(self, symbol: str) -> Instrument | None:
        """The symbol's filters, reloaded if possible."""
        try:
            await self._broker.refresh_instruments(symbol)
        except (Retry, Rejected) as fault:
            log.warning("filters_not_read", symbol=symbol, why=str(fault))
        return self._broker.instrument(symbol)

    async def _check_liquidation(self, position: OwnPosition, order: EntryOrder) -> None:
        """The liquidation price lies beyond the stop, or the stop is worth nothing: then the position is closed."""
        held = (await self._view.snapshot_from_exchange()).held.get(position.symbol)
        if held is None or held.liq_price is None:
            return
        if (position.stop_loss - held.liq_price) * position.direction.sign <= 0:
            why = f"it would be liquidated at {plain(held.liq_price)}, before its stop at {plain(position.stop_loss)}"
            await self._leave_unprotected(position, order, Reason.RISK_LIMIT, why)

    async def _leave_unprotected(self, position: OwnPosition, order: EntryOrder, reason: Reason, why: str) -> None:
        await self._journal.warn(
            f"unprotected:{position.symbol}",
            f"{position.symbol} is closed again right after its entry: {why}.",
            level=Level.CRITICAL,
        )
        self._executor.plan_exit(
            CloseOrder(position.symbol, position.direction, position.size, reason, why), order.bar_ms, None
        )
        await self._journal.save()
        await self._executor.work_off_exits()
