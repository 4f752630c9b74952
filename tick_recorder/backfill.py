"""Reads trades missed in an interruption over REST, which returns the newest thousand."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from alpha.bybit.models import PublicTrade
from alpha.errors import AlphaError
from alpha.logs import logger
from alpha.model.money import plain
from tick_recorder.frames import Trade
from tick_recorder.recorder import Recorder

log = logger(__name__)
#: How long, and how many, trades are held back for earlier ones while REST does not answer.
PATIENCE_S = 30.0
MOST_HELD = 20_000
_PAUSE_S = 0.5
_AT_ONCE = 4


class Backfill:
    """One request per symbol at a time. `read(symbol)` returns the newest trades, newest first; `ready(symbol)` is True
    while the stream delivers this symbol's trades; `epoch()` changes with every interruption.
    """

    def __init__(
        self,
        read: Callable[[str], Awaitable[list[PublicTrade]]],
        ready: Callable[[str], bool],
        epoch: Callable[[], int],
        now_us: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        self.requests = 0
        self.failures = 0
        self.recorder: Recorder | None = None
        self._read = read
        self._ready = ready
        self._epoch = epoch
        self._now_us = now_us
        self._wanted: asyncio.Queue[str] = asyncio.Queue()

    def ask(self, symbol: str) -> None:
        """Request the missed trades of this symbol."""
        self._wanted.put_nowait(symbol)

    async def run(self) -> None:
        """Serve requests until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            gate = asyncio.Semaphore(_AT_ONCE)
            while True:
                tasks.create_task(self._serve(await self._wanted.get(), gate))

    async def _serve(self, symbol: str, gate: asyncio.Semaphore) -> None:
        began_s: float | None = None
        while self.recorder is not None and symbol in self.recorder.symbols:
            epoch = self._epoch()
            if not self._ready(symbol):
                began_s = None
                await asyncio.sleep(0.05)
                continue
            began_s = began_s or time.monotonic()
            rows: list[Trade] | None = None
            async with gate:
                self.requests += 1
                try:
                    found = await self._read(symbol)
                    rows = [self._row(trade) for trade in reversed(found)]
                except AlphaError as fault:
                    self.failures += 1
                    log.info("trades_not_read", symbol=symbol, why=str(fault))
            if epoch != self._epoch():
                # the connection was lost again meanwhile, so the gap is longer than the one requested
                continue
            self.recorder.decode_all()
            waited = time.monotonic() - began_s > PATIENCE_S or self.recorder.held(symbol) > MOST_HELD
            if (rows or waited) and self.recorder.backfilled(symbol, rows):
                return
            await asyncio.sleep(_PAUSE_S)

    def _row(self, trade: PublicTrade) -> Trade:
        return Trade(
            trade.time_ms,
            "Buy" if trade.side == "Buy" else "Sell",
            plain(trade.size),
            plain(trade.price),
            trade.trade_id,
            trade.seq,
            trade.is_block,
            trade.is_rpi,
            self._now_us(),
        )
