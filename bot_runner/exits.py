"""Executes exits and stop updates. State is saved before anything is sent."""

from decimal import Decimal

from alpha.alerts import Level
from alpha.bybit.errors import NothingToClose, Refused
from alpha.clock import BusinessClock
from alpha.errors import Rejected, Retry, Unknown
from alpha.logs import logger
from alpha.model.money import plain
from alpha.strategy.core import CloseOrder, DecisionCore, StopUpdate
from alpha.strategy.positions import OwnPosition, stop_passed
from bot_runner.account import AccountView
from bot_runner.broker import Broker
from bot_runner.order_intents import OrderIntent
from bot_runner.position_reconciler import PositionReconciler, log_exit
from bot_runner.state import PendingExit, PendingStop
from bot_runner.state_persistence import StatePersistence

log = logger(__name__)
_PROTECT_TRIES = 3


class Exits:
    """Carries out for one bot."""

    def __init__(
        self,
        core: DecisionCore,
        journal: StatePersistence,
        broker: Broker,
        view: AccountView,
        reconciler: PositionReconciler,
        clock: BusinessClock,
    ) -> None:
        self._core = core
        self._journal = journal
        self._broker = broker
        self._view = view
        self._reconciler = reconciler
        self._clock = clock

    # --- exits --------------------------------------------------------------------------------------------------

    def plan_exit(self, close: CloseOrder, bar_ms: int, decided_ms: int | None) -> None:
        """Record an exit; `work_off_exits` executes it until the position is closed."""
        if close.symbol not in self._journal.runtime.exits:
            pending = PendingExit(close.reason, bar_ms, decided_ms, close.why)
            # A second position of the same bar must not be closed under the id of the first one's exit.
            while self._journal.has_sent(
                self._broker.link(close.reason, close.symbol, bar_ms, "exit", pending.attempt)
            ):
                pending.attempt += 1
            link_id = self._broker.link(close.reason, close.symbol, bar_ms, "exit", pending.attempt)
            when_ms = self._clock.now_ms() if decided_ms is None else decided_ms
            self._journal.note_intent(OrderIntent.of_close(close, link_id, bar_ms, when_ms))
            self._journal.runtime.exits[close.symbol] = pending

    async def work_off_exits(self) -> None:
        """Try every exit that is decided and not done."""
        exits = self._journal.runtime.exits
        before = len(exits)
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
        if len(exits) < before:
            await self._journal.save()

    async def _exit(self, position: OwnPosition, pending: PendingExit) -> None:
        symbol = position.symbol
        if pending.unsure:
            link_id = self._broker.link(pending.reason, symbol, pending.bar_ms, "exit", pending.attempt)
            if await self._broker.known(symbol, link_id) is not None:
                pending.attempt += 1
            pending.unsure = False
            await self._reconciler.reconcile(await self._view.snapshot_from_exchange())
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
                    self._journal.note_sent,
                )
            except NothingToClose:
                pending.unsure = False
                pending.attempt += 1
                await self._reconciler.reconcile(await self._view.snapshot_from_exchange())
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

    def plan_stop(self, stop: StopUpdate, bar_ms: int, decided_ms: int | None) -> None:
        """Remember a moved stop and its meaning; `work_off_stops` carries it out until the exchange has it."""
        self._core.moved(stop)
        stops = self._journal.runtime.stops
        levels = stop.symbol in stops and stops[stop.symbol].levels
        stops[stop.symbol] = PendingStop(bar_ms, decided_ms, stop.why, levels)

    def plan_levels(self, position: OwnPosition, bar_ms: int) -> None:
        """Remember that a position has only the stop of its entry; `work_off_stops` sets all its levels."""
        self._journal.runtime.stops[position.symbol] = PendingStop(bar_ms, None, "the levels of the entry", levels=True)

    async def work_off_stops(self) -> None:
        """Try every stop that is moved and not on the exchange; one that the market has passed becomes an exit."""
        stops = self._journal.runtime.stops
        before = len(stops)
        for symbol, pending in list(stops.items()):
            position = self._core.positions.get(symbol)
            if position is None or symbol in self._journal.runtime.exits:
                del stops[symbol]
                continue
            try:
                if await self._move(position, pending):
                    del stops[symbol]
            except (Retry, Unknown) as fault:
                log.warning("stop_not_moved_yet", symbol=symbol, why=str(fault))
        if len(stops) < before:
            await self._journal.save()

    async def _move(self, position: OwnPosition, pending: PendingStop) -> bool:
        """True when it is done. After a refusal once more at once, where the symbol's tick has changed."""
        price = None
        while price != position.stop_loss:
            price = position.stop_loss
            try:
                if pending.levels:
                    await self._broker.protect(position.symbol, position.levels)
                else:
                    await self._broker.move_stop(position.symbol, price)
            except Refused as fault:
                if await self._stop_refused(position, fault, pending.bar_ms, pending.decided_ms):
                    return True
            else:
                meaning = position.stop_meaning
                log.info("stop_moved", symbol=position.symbol, price=plain(price), meaning=meaning, why=pending.why)
                return True
        return False

    async def _stop_refused(self, position: OwnPosition, fault: Refused, bar_ms: int, decided_ms: int | None) -> bool:
        """True if the market has passed the stop: the position is closed. Otherwise reloads its filters."""
        last = await self._broker.last_price(position.symbol)
        if stop_passed(position.direction, position.stop_loss, last):
            why = f"the price {plain(last)} has passed the stop {plain(position.stop_loss)}"
            close = CloseOrder(position.symbol, position.direction, position.size, position.stop_meaning, why)
            self.plan_exit(close, bar_ms, decided_ms)
            await self._journal.save()
            await self.work_off_exits()
            return True
        await self._broker.refresh_instruments(position.symbol)
        instrument = self._broker.instrument(position.symbol)
        if instrument is not None:
            position.fit(instrument)
            await self._journal.save()
        await self._journal.warn(
            f"stop_refused:{position.symbol}", f"The stop of {position.symbol} was refused: {fault}", "It is set again."
        )
        return False

    async def restore_stop(self, position: OwnPosition) -> None:
        """Set all levels of a position again whose stop is missing; close it when the market has passed the stop."""
        bar_ms = self._bar_of(self._clock.now_ms())
        try:
            await self._broker.protect(position.symbol, position.levels, missing=True)
            await self._journal.warn(f"stop_restored:{position.symbol}", f"{position.symbol} had no stop; set again.")
        except Refused as fault:
            await self._stop_refused(position, fault, bar_ms, None)

    def _bar_of(self, time_ms: int) -> int:
        return time_ms - time_ms % self._core.interval_ms
