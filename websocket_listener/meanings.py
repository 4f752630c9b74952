"""What a strategy's stop means: a stop that was moved to break even, or behind the price, is no plain stop loss.

The strategy saves the meaning in `trading.strategy_state` before it moves the stop, so it is read when the exchange
says that a stop has changed, and on a beat.
"""

import asyncio
from collections.abc import Callable

import msgspec

from alpha.db.pool import Pool
from alpha.logs import logger
from alpha.reasons import Reason
from websocket_listener.store import DATABASE_FAULTS

log = logger(__name__)
_BEAT_S = 5.0
_READ = "SELECT state FROM trading.strategy_state WHERE account_id = $1 AND name = 'positions'"


class _Position(msgspec.Struct):
    stop_meaning: Reason = Reason.STOP_LOSS


class StopMeanings:
    """The meaning of each symbol's stop of one account. `changed(symbol)` is called when one became another."""

    def __init__(
        self, pool: Pool, account_id: int, meanings: dict[str, Reason], changed: Callable[[str], None]
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

    async def run(self) -> None:
        """Keep the meanings until cancelled; while PostgreSQL is away the last known ones count."""
        while True:
            try:
                await self.read()
            except DATABASE_FAULTS as fault:
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
            state = await connection.fetchval(_READ, self._account_id)
        if not isinstance(state, dict):
            return
        for symbol, row in state.items():
            try:
                meaning = msgspec.convert(row, _Position).stop_meaning
            except msgspec.ValidationError:
                continue
            before = self._meanings.get(symbol, Reason.STOP_LOSS)
            if meaning is Reason.STOP_LOSS:
                self._meanings.pop(symbol, None)
            else:
                self._meanings[symbol] = meaning
            if meaning is not before:
                self._changed(symbol)
