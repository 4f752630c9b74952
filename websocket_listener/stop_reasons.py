"""What a strategy's stop means: a stop that was moved to break even, or behind the price, is no plain stop loss.

The strategy saves the meaning in `trading.strategy_state` before it moves the stop, so it is read before anything is
listened to, when the exchange says that a stop has changed, and on a beat. It counts for fills since that position was
opened. Once a position has ended the strategy forgets it; for a fill that is read late, the stop order in
`trading.orders` still has the reason with which it was stored while it was open.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from alpha.logs import logger
from alpha.model.reason import Reason
from alpha.postgres.database import POSTGRES_ERRORS, Pool
from alpha.postgres.sql import queries

SQL = queries(__file__)

log = logger(__name__)
_BEAT_S = 5.0


class _Position(msgspec.Struct):
    opened_ms: int = 0
    stop_meaning: Reason = Reason.STOP_LOSS


class StopReason(NamedTuple):
    """What a symbol's stop means for fills since then (the exchange's time)."""

    reason: Reason
    since_ms: int

    def at(self, time_ms: int) -> Reason | None:
        """The meaning of a fill at that time; None when it was before this position."""
        return self.reason if time_ms >= self.since_ms else None


class StopReasons:
    """The meaning of each symbol's stop of one account. `changed(symbol)` is called when one became another."""

    def __init__(
        self, pool: Pool, account_id: int, meanings: dict[str, StopReason], changed: Callable[[str], None]
    ) -> None:
        """`meanings` is kept up to date in place: symbol to meaning, for stops that mean something else."""
        self._pool = pool
        self._account_id = account_id
        self._meanings = meanings
        self._changed = changed
        self._poked = asyncio.Event()

    def poke(self) -> None:
        """The exchange says that a stop has changed: look now."""
        self._poked.set()

    async def begin(self) -> None:
        """Read them before anything is listened to; while PostgreSQL is unavailable this waits."""
        while True:
            try:
                await self.read()
            except POSTGRES_ERRORS as fault:
                log.info("meanings_not_read", account=self._account_id, why=type(fault).__name__)
                await asyncio.sleep(0.5)
            else:
                return

    async def run(self) -> None:
        """Keep the meanings until cancelled; while PostgreSQL is unavailable the last known ones count."""
        while True:
            try:
                await self.read()
            except POSTGRES_ERRORS as fault:
                log.debug("meanings_not_read", account=self._account_id, why=type(fault).__name__)
                await asyncio.sleep(1.0)
            try:
                async with asyncio.timeout(_BEAT_S):
                    await self._poked.wait()
            except TimeoutError:
                pass
            self._poked.clear()

    async def read(self) -> None:
        """Read them once. A position that is gone keeps its meaning until the symbol has another."""
        async with self._pool.acquire(timeout=5.0) as connection:
            state = await connection.fetchval(SQL["positions"], self._account_id)
        if not isinstance(state, dict):
            return
        for symbol, row in state.items():
            try:
                position = msgspec.convert(row, _Position, strict=False)
            except msgspec.ValidationError:
                continue
            before = self._meanings.get(symbol)
            if position.stop_meaning is Reason.STOP_LOSS:
                self._meanings.pop(symbol, None)
            else:
                self._meanings[symbol] = StopReason(position.stop_meaning, position.opened_ms)
            if self._meanings.get(symbol) != before:
                self._changed(symbol)
