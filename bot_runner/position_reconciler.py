"""What the exchange holds against what the bot knows: exits explained, sizes corrected, own positions adopted that the saved
state has lost, unknown ones left alone.
"""

from collections.abc import Callable
from decimal import Decimal

from alpha.clock import SYSTEM_CLOCK, BusinessClock, Clock
from alpha.logs import logger
from alpha.model.money import plain
from alpha.model.reason import Reason
from alpha.strategy.core import DecisionCore
from alpha.strategy.positions import OwnPosition
from bot_runner.account import AccountSnapshot, AccountView, Held
from bot_runner.broker import Broker
from bot_runner.lost_state import LostState
from bot_runner.state_persistence import StatePersistence

log = logger(__name__)
_SHOWN_AFTER_S = (0.0, 0.05, 0.2, 0.5, 1.0)


class PositionReconciler:
    """Keeps the core's positions equal to the exchange's."""

    def __init__(
        self,
        core: DecisionCore,
        journal: StatePersistence,
        broker: Broker,
        view: AccountView,
        business: BusinessClock,
        *,
        lost: LostState | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`lost` adopts what the saved state has lost."""
        self._core = core
        self._journal = journal
        self._broker = broker
        self._view = view
        self._business = business
        self._lost = lost
        self._clock = clock
        self._compared = False
        self.unknown: dict[str, Held] = {}
        #: Symbols whose differences are explained elsewhere, by the executions of resting orders.
        self.explained_by_executions: Callable[[str], bool] = lambda symbol: False
        self._explained: dict[str, tuple[Decimal, Decimal]] = {}

    async def reconcile(self, look: AccountSnapshot) -> AccountSnapshot:
        """Bring the core's positions in line with `look`; returns the look that was believed in the end.

        What live state shows is a hint: before anything follows from a difference, the exchange is asked.
        """
        if not self._compared and look.live:
            look = await self._view.snapshot_from_exchange()
        differing = self._differences(look)
        if look.live:
            fresh = {symbol: pair for symbol, pair in differing.items() if self._explained.get(symbol) != pair}
            if not fresh:
                self._see_unknown(look)
                return look
            live, look = look, await self._view.snapshot_from_exchange()
            differing = self._differences(look)
            for symbol in fresh:
                self._explained[symbol] = (_signed(live.held.get(symbol)), self._own(symbol))
        await self._compare_entries(look)
        for symbol in differing:
            await self._settle(symbol, look.held.get(symbol))
        self._see_unknown(look)
        return look

    def _see_unknown(self, look: AccountSnapshot) -> None:
        """Re-evaluate foreign positions: their stops may have been set, or they may be closed."""
        self.unknown = {symbol: look.held[symbol] for symbol in self.unknown if symbol in look.held}

    async def clear_lost_orders(self) -> None:
        """At the start: own resting entries that the saved state has lost are cancelled."""
        if self._lost is not None:
            await self._lost.clear_orders()

    def forget_explained(self) -> None:
        """Re-evaluate every difference."""
        self._explained.clear()

    def _differences(self, look: AccountSnapshot) -> dict[str, tuple[Decimal, Decimal]]:
        """Symbol to (signed size seen, signed size known), where they differ."""
        found = {}
        for symbol in {*look.held, *self._core.positions}:
            if symbol in self._journal.runtime.entries:
                continue
            pair = (_signed(look.held.get(symbol)), self._own(symbol))
            unknown = self.unknown.get(symbol)
            if pair[0] == pair[1] or self.explained_by_executions(symbol):
                continue
            if not (unknown is not None and _signed(unknown) == pair[0]):
                found[symbol] = pair
        return found

    def _own(self, symbol: str) -> Decimal:
        position = self._core.positions.get(symbol)
        return Decimal(0) if position is None else position.size * position.direction.sign

    async def _settle(self, symbol: str, held: Held | None) -> None:
        position = self._core.positions.get(symbol)
        if position is None:
            if held is not None:
                await self._not_known(held)
            return
        if held is None or held.direction is not position.direction:
            await self._ended(position)
            if held is not None:
                await self._not_known(held)
            return
        log.info("position_size_changed", symbol=symbol, size=plain(held.size), known=plain(position.size))
        if held.size < position.size:
            position.size = held.size
            await self._journal.save()
        else:
            await self._not_known(held)

    async def _compare_entries(self, look: AccountSnapshot) -> None:
        """Once at the start: a position of the same size may be another one, opened in what the saved state has lost."""
        if self._compared:
            return
        self._compared = True
        for symbol, position in list(self._core.positions.items()):
            held, instrument = look.held.get(symbol), self._broker.instrument(symbol)
            if held is None or instrument is None or _signed(held) != self._own(symbol):
                continue
            if abs(held.entry_price - position.entry_price) > instrument.tick_size and self._lost is not None:
                await self._lost.adopt(held)

    async def _not_known(self, held: Held) -> None:
        if self._lost is None or not await self._lost.adopt(held):
            await self._leave_alone(held)

    async def _leave_alone(self, held: Held) -> None:
        self.unknown[held.symbol] = held
        await self._journal.warn(
            f"unknown_position:{held.symbol}",
            f"{self._journal.bot.name} does not know this position: {held.direction.name.lower()} "
            f"{plain(held.size)} {held.symbol} at {plain(held.entry_price)}. It is left alone.",
            f"Close it by hand, or send 'adopt {held.symbol}' to let the bot take it over.",
        )

    async def _ended(self, position: OwnPosition) -> None:
        """Resolve a position that closed unobserved: reason, time, price."""
        gone = None
        for pause_s in _SHOWN_AFTER_S:
            await self._clock.sleep(pause_s)
            now_ms = self._business.now_ms()
            gone = await self._broker.how_it_ended(
                position.symbol, position.direction, position.opened_ms, now_ms, position.stop_meaning
            )
            if gone is not None:
                break
        pending = self._journal.runtime.exits.pop(position.symbol, None)
        reason = Reason.MANUAL if gone is None else gone.reason
        time_ms = self._business.now_ms() if gone is None else gone.time_ms
        own = pending is not None and gone is not None and gone.reason is pending.reason
        decided_ms = pending.decided_ms if own and pending is not None else None
        self._core.closed(position.symbol, time_ms, decided_ms)
        self._explained.pop(position.symbol, None)
        log_exit(position, reason, None if gone is None else gone.average, time_ms, "closed on the exchange")
        await self._journal.save()


def log_exit(position: OwnPosition, reason: Reason, average: Decimal | None, time_ms: int, why: str) -> None:
    """The line of every exit."""
    profit = None if average is None else position.profit_at(average)
    log.info(
        "exited",
        symbol=position.symbol,
        reason=reason.value,
        side=position.direction.closing_side,
        qty=plain(position.size),
        price=None if average is None else plain(average),
        entry_price=plain(position.entry_price),
        gross_usdt=None if profit is None else f"{profit:.4f}",
        held_minutes=(time_ms - position.opened_ms) // 60_000,
        why=why,
        time_ms=time_ms,
    )


def _signed(held: Held | None) -> Decimal:
    return Decimal(0) if held is None else held.size * held.direction.sign
