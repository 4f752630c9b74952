"""Carrying out what was decided: closes, stops, entries. What must be remembered is saved before it is sent."""

from decimal import Decimal

from alpha.alerts import Level
from alpha.bybit.faults import CapExceeded, NothingToClose, Refused, TooSmall, TradingHalted
from alpha.bybit.sizing import fit_qty
from alpha.clock import BusinessClock
from alpha.errors import Rejected, Retry, Unknown
from alpha.logs import logger
from alpha.money import plain
from alpha.reasons import Reason
from alpha.runtime.account import AccountView
from alpha.runtime.broker import Broker, Filled
from alpha.runtime.journal import Journal
from alpha.runtime.state import PendingEntry, PendingExit
from alpha.runtime.takeup import Reconciler, log_exit
from alpha.strategy.core import Close, DecisionCore, Open, SetStop
from alpha.strategy.positions import OwnPosition, protection_of, stop_passed

log = logger(__name__)
_PROTECT_TRIES = 3


class Executor:
    """Carries out for one bot."""

    def __init__(
        self,
        core: DecisionCore,
        journal: Journal,
        broker: Broker,
        view: AccountView,
        reconciler: Reconciler,
        clock: BusinessClock,
    ) -> None:
        self._core = core
        self._journal = journal
        self._broker = broker
        self._view = view
        self._reconciler = reconciler
        self._clock = clock

    # --- exits --------------------------------------------------------------------------------------------------

    def plan_exit(self, close: Close, bar_ms: int, decided_ms: int | None) -> None:
        """Remember an exit; `work_off_exits` carries it out until the position is gone."""
        if close.symbol not in self._journal.runtime.exits:
            self._journal.runtime.exits[close.symbol] = PendingExit(close.reason, bar_ms, decided_ms, close.why)

    async def work_off_exits(self) -> None:
        """Try every exit that is decided and not done."""
        exits = self._journal.runtime.exits
        for symbol in list(exits):
            position = self._core.positions.get(symbol)
            if position is None:
                exits.pop(symbol, None)
                continue
            try:
                await self._exit(position, exits[symbol])
            except (Retry, Unknown) as fault:
                log.warning("exit_not_done_yet", symbol=symbol, why=str(fault))
            except Rejected as fault:
                exits[symbol].attempt += 1
                await self._journal.warn(
                    f"exit_refused:{symbol}",
                    f"The exit of {symbol} was refused: {fault}",
                    "It is tried again.",
                    Level.CRITICAL,
                )

    async def _exit(self, position: OwnPosition, pending: PendingExit) -> None:
        symbol = position.symbol
        if pending.unsure:
            link_id = self._broker.link(pending.reason, symbol, pending.bar_ms, "exit", pending.attempt)
            if await self._broker.known(symbol, link_id) is not None:
                pending.attempt += 1
            pending.unsure = False
            await self._reconciler.reconcile(await self._view.truth())
            if symbol not in self._core.positions:
                return
        whole = position.size
        value = Decimal(0)
        while position.size > 0:
            pending.unsure = True
            try:
                filled = await self._broker.close(
                    symbol,
                    position.direction,
                    position.size,
                    position.entry_price,
                    pending.reason,
                    pending.bar_ms,
                    pending.attempt,
                    self._journal.runtime.note_sent,
                )
            except NothingToClose:
                pending.unsure = False
                pending.attempt += 1
                await self._reconciler.reconcile(await self._view.truth())
                return
            except (Rejected, Retry):
                pending.unsure = False
                raise
            pending.unsure = False
            pending.attempt += 1
            if not filled.qty:
                raise Retry(f"{symbol}: nothing of the exit was filled ({filled.status}, {filled.reject_reason}).")
            value += filled.qty * filled.average
            position.size -= filled.qty
        position.size = whole
        log_exit(position, pending.reason, value / whole, filled.time_ms, pending.why)
        self._core.closed(symbol, filled.time_ms, pending.decided_ms)
        self._journal.runtime.exits.pop(symbol, None)

    # --- stops --------------------------------------------------------------------------------------------------

    async def move_stops(self, stops: list[SetStop], bar_ms: int, decided_ms: int | None) -> None:
        """Move stops whose new price is already saved; one that the market has passed becomes an exit."""
        for stop in stops:
            position = self._core.positions.get(stop.symbol)
            if position is None or stop.symbol in self._journal.runtime.exits:
                continue
            try:
                await self._broker.move_stop(stop.symbol, stop.price)
                log.info("stop_moved", symbol=stop.symbol, price=plain(stop.price), meaning=stop.meaning, why=stop.why)
            except Refused as fault:
                await self._stop_refused(position, fault, bar_ms, decided_ms)
            except (Retry, Unknown) as fault:
                log.warning("stop_not_moved_yet", symbol=stop.symbol, why=str(fault))

    async def _stop_refused(self, position: OwnPosition, fault: Refused, bar_ms: int, decided_ms: int | None) -> None:
        last = await self._broker.last_price(position.symbol)
        if stop_passed(position.direction, position.stop_loss, last):
            why = f"the price {plain(last)} has passed the stop {plain(position.stop_loss)}"
            close = Close(position.symbol, position.direction, position.size, position.stop_meaning, why)
            self.plan_exit(close, bar_ms, decided_ms)
            await self._journal.save()
            await self.work_off_exits()
            return
        await self._broker.refresh_instruments(position.symbol)
        await self._journal.warn(
            f"stop_refused:{position.symbol}", f"The stop of {position.symbol} was refused: {fault}", "It is set again."
        )

    async def restore_stop(self, position: OwnPosition) -> None:
        """Set all levels of a position again whose stop is missing; close it when the market has passed the stop."""
        bar_ms = self._bar_of(self._clock.now_ms())
        try:
            await self._broker.protect(position.symbol, position.levels)
            await self._journal.warn(f"stop_restored:{position.symbol}", f"{position.symbol} had no stop; set again.")
        except Refused as fault:
            await self._stop_refused(position, fault, bar_ms, None)

    # --- entries ------------------------------------------------------------------------------------------------

    async def enter(self, orders: list[Open]) -> None:
        """Send entries, one after another. The caller has checked that entries are allowed."""
        runtime = self._journal.runtime
        pendings: list[tuple[Open, PendingEntry]] = []
        for order in orders:
            link_id = self._broker.link(Reason.ENTRY, order.enter.symbol, order.bar_ms, "enter")
            pending = PendingEntry.of(order, link_id)
            runtime.entries[order.enter.symbol] = pending
            runtime.note_sent(link_id)
            pendings.append((order, pending))
        if not await self._journal.save():
            for order, _ in pendings:
                runtime.entries.pop(order.enter.symbol, None)
                log.warning("entry_dropped", symbol=order.enter.symbol, why="the state cannot be saved")
            return
        for order, pending in pendings:
            await self._enter(order, pending)
        await self._journal.save()

    async def _enter(self, order: Open, pending: PendingEntry, *, again: bool = True) -> None:
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
            if again and await self._filters_changed(order, pending):
                return
            log.warning("entry_refused", symbol=symbol, why=str(fault))
            return
        await self._entered(order, pending, filled)

    async def _filters_changed(self, order: Open, pending: PendingEntry) -> bool:
        """After a refusal: when the symbol's filters are not what they were, send once more by the new ones."""
        symbol = order.enter.symbol
        await self._broker.refresh_instruments(symbol)
        instrument = self._broker.instrument(symbol)
        if instrument is None or instrument == order.instrument:
            return False
        try:
            qty = fit_qty(order.qty, order.price, instrument)
        except TooSmall:
            return False
        stop = protection_of(order.enter, order.price, instrument).stop_loss
        renewed = Open(order.enter, qty, stop, order.price, order.bar_ms, order.close_ms, instrument)
        link_id = self._broker.link(Reason.ENTRY, symbol, order.bar_ms, "enter", attempt=2)
        self._journal.runtime.note_sent(link_id)
        self._journal.runtime.entries[symbol] = PendingEntry.of(renewed, link_id)
        if await self._journal.save():
            await self._enter(renewed, self._journal.runtime.entries[symbol], again=False)
        else:
            self._journal.runtime.entries.pop(symbol, None)
        return True

    async def resolve_entries(self) -> None:
        """Learn what became of entries whose outcome is not known, from the exchange, by their ids."""
        entries = self._journal.runtime.entries
        for symbol, pending in list(entries.items()):
            try:
                filled = await self._broker.known(symbol, pending.link_id)
            except (Retry, Unknown) as fault:
                log.warning("entry_outcome_unknown", symbol=symbol, why=str(fault))
                continue
            instrument = self._broker.instrument(symbol)
            if filled is None or not filled.qty or instrument is None:
                entries.pop(symbol, None)
                log.info("entry_never_happened", symbol=symbol, link_id=pending.link_id)
            else:
                order = Open(
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

    async def _entered(self, order: Open, pending: PendingEntry, filled: Filled) -> None:
        symbol = order.enter.symbol
        self._journal.runtime.entries.pop(symbol, None)
        if not filled.qty:
            log.warning("entry_not_filled", symbol=symbol, status=filled.status, why=filled.reject_reason)
            return
        levels = self._core.opened(order, filled.average, filled.qty, filled.time_ms)
        position = self._core.positions[symbol]
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

    async def _protect(self, position: OwnPosition, order: Open) -> None:
        """Put the levels on the exchange; a position that cannot be protected is closed again at once."""
        fault = await self._set_levels(position, order)
        if fault is not None:
            await self._leave_unprotected(position, order, Reason.STOP_LOSS, f"its stop could not be set: {fault}")
            return
        try:
            await self._check_liquidation(position, order)
        except Retry as unread:
            log.warning("liquidation_price_not_read", symbol=position.symbol, why=str(unread))

    async def _set_levels(self, position: OwnPosition, order: Open) -> str | None:
        """None when they are set, else why not. After a refusal once more, if the symbol's filters have changed."""
        why = ""
        for attempt in range(1, _PROTECT_TRIES + 1):
            try:
                await self._broker.protect(position.symbol, position.levels)
            except Refused as fault:
                why = str(fault)
                await self._broker.refresh_instruments(position.symbol)
                instrument = self._broker.instrument(position.symbol)
                if attempt > 1 or instrument is None or instrument == order.instrument:
                    return why
                levels = protection_of(order.enter, position.entry_price, instrument)
                position.stop_loss, position.take_profit = levels.stop_loss, levels.take_profit
                position.trailing_distance, position.active_price = levels.trailing_distance, levels.active_price
            except (Retry, Unknown) as fault:
                why = str(fault)
            else:
                return None
        return why

    async def _check_liquidation(self, position: OwnPosition, order: Open) -> None:
        """The liquidation price lies beyond the stop, or the stop is worth nothing: then the position is closed."""
        held = (await self._view.truth()).held.get(position.symbol)
        if held is None or held.liq_price is None:
            return
        if (position.stop_loss - held.liq_price) * position.direction.sign <= 0:
            why = f"it would be liquidated at {plain(held.liq_price)}, before its stop at {plain(position.stop_loss)}"
            await self._leave_unprotected(position, order, Reason.RISK_LIMIT, why)

    async def _leave_unprotected(self, position: OwnPosition, order: Open, reason: Reason, why: str) -> None:
        await self._journal.warn(
            f"unprotected:{position.symbol}",
            f"{position.symbol} is closed again right after its entry: {why}.",
            level=Level.CRITICAL,
        )
        self.plan_exit(Close(position.symbol, position.direction, position.size, reason, why), order.bar_ms, None)
        await self._journal.save()
        await self.work_off_exits()

    def _bar_of(self, time_ms: int) -> int:
        return time_ms - time_ms % self._core.interval_ms
