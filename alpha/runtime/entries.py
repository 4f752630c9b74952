"""Carrying out entries: sent once, protected at once, or closed again."""

from alpha.alerts import Level
from alpha.bybit.faults import CapExceeded, Refused, TooSmall, TradingHalted
from alpha.bybit.sizing import fit_qty
from alpha.errors import Rejected, Retry, Unknown
from alpha.logs import logger
from alpha.money import plain
from alpha.reasons import Reason
from alpha.runtime.account import AccountView
from alpha.runtime.broker import Broker, Filled
from alpha.runtime.execute import Executor
from alpha.runtime.journal import Journal
from alpha.runtime.state import PendingEntry
from alpha.strategy.core import Close, DecisionCore, Open
from alpha.strategy.positions import OwnPosition, protection_of

log = logger(__name__)
_PROTECT_TRIES = 3


class Entries:
    """Enters for one bot."""

    def __init__(
        self, core: DecisionCore, journal: Journal, broker: Broker, view: AccountView, executor: Executor
    ) -> None:
        """`executor` closes what cannot be protected."""
        self._core = core
        self._journal = journal
        self._broker = broker
        self._view = view
        self._executor = executor

    async def send(self, orders: list[Open]) -> None:
        """Send entries, one after another. The caller has checked that entries are allowed."""
        runtime = self._journal.runtime
        pendings: list[tuple[Open, PendingEntry]] = []
        for order in orders:
            link_id = self._broker.link(Reason.ENTRY, order.enter.symbol, order.bar_ms, "enter")
            pending = PendingEntry.of(order, link_id)
            runtime.entries[order.enter.symbol] = pending
            self._journal.note_sent(link_id)
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
        self._journal.note_sent(link_id)
        self._journal.runtime.entries[symbol] = PendingEntry.of(renewed, link_id)
        if await self._journal.save():
            await self._enter(renewed, self._journal.runtime.entries[symbol], again=False)
        else:
            self._journal.runtime.entries.pop(symbol, None)
        return True

    async def resolve(self) -> None:
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
        self._executor.plan_exit(
            Close(position.symbol, position.direction, position.size, reason, why), order.bar_ms, None
        )
        await self._journal.save()
        await self._executor.work_off_exits()
