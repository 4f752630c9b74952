"""Exits of a part of a position: a reduce-only market order, saved before it is sent, tried until it is filled."""

from decimal import Decimal

from alpha.bybit.errors import NothingToClose
from alpha.errors import Rejected, Retry, Unknown
from alpha.logs import logger
from alpha.model.money import plain
from alpha.strategy.core import CloseOrder, DecisionCore
from bot_runner.broker import Broker
from bot_runner.order_intents import OrderIntent
from bot_runner.state import PendingPart
from bot_runner.state_persistence import StatePersistence

log = logger(__name__)
_INTENT = "part"


class PartialExits:
    """Carries them out for one bot."""

    def __init__(self, core: DecisionCore, journal: StatePersistence, broker: Broker) -> None:
        self._core = core
        self._journal = journal
        self._broker = broker

    def plan(self, close: CloseOrder, bar_ms: int) -> None:
        """Remember a part to close; `work_off` carries it out."""
        link_id = self._broker.link(close.reason, close.symbol, bar_ms, _INTENT)
        decided_ms = bar_ms + self._core.interval_ms
        self._journal.note_intent(OrderIntent.of_close(close, link_id, bar_ms, decided_ms))
        self._journal.runtime.parts[close.symbol] = PendingPart(close.size, close.reason, bar_ms, close.why)

    async def work_off(self) -> None:
        """Retry every pending partial exit. Drops those whose position is closed, or closing as a whole."""
        parts = self._journal.runtime.parts
        for symbol, pending in list(parts.items()):
            if symbol not in self._core.positions or symbol in self._journal.runtime.exits:
                parts.pop(symbol, None)
                continue
            try:
                await self._close(symbol, pending)
            except NothingToClose:
                pending.unsure = False
                parts.pop(symbol, None)
            except (Retry, Unknown) as fault:
                log.warning("part_not_closed_yet", symbol=symbol, why=str(fault))
                continue
            except Rejected as fault:
                pending.unsure = False
                parts.pop(symbol, None)
                await self._journal.warn(f"part_refused:{symbol}", f"A part of {symbol} was not closed: {fault}")
            await self._journal.save()

    async def _close(self, symbol: str, pending: PendingPart) -> None:
        if pending.unsure:
            link_id = self._broker.link(pending.reason, symbol, pending.bar_ms, _INTENT, pending.attempt)
            known = await self._broker.known(symbol, link_id)
            pending.unsure = False
            if known is not None:
                self._closed(symbol, pending, known.qty)
        while pending.qty > 0 and symbol in self._core.positions:
            position = self._core.positions[symbol]
            pending.unsure = True
            await self._journal.save()
            filled = await self._broker.close(
                symbol,
                position.direction,
                min(pending.qty, position.size),
                position.entry_price,
                pending.reason,
                pending.bar_ms,
                pending.attempt,
                self._journal.note_sent,
                intent=_INTENT,
            )
            pending.unsure = False
            if not filled.qty:
                raise Retry(f"{symbol}: nothing of the part was filled ({filled.status}, {filled.reject_reason}).")
            self._closed(symbol, pending, filled.qty)
            log.info("part_closed", symbol=symbol, qty=plain(filled.qty), price=plain(filled.average), why=pending.why)
        self._journal.runtime.parts.pop(symbol, None)

    def _closed(self, symbol: str, pending: PendingPart, qty: Decimal) -> None:
        pending.attempt += 1
        pending.qty -= qty
        if qty:
            self._core.reduced(symbol, qty)
