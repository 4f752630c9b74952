"""Trades that an interruption left out, read over REST as far as it reaches: the newest thousand."""

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
#: How long trades wait for those before them, and how many, while REST does not answer.
PATIENCE_S = 30.0
MOST_HELD = 20_000
_PAUSE_S = 0.5
_AT_ONCE = 4


class Backfill:
    """One request at a time for each symbol. `read(symbol)` gives the newest trades, newest first; `ready(symbol)` is true
    while the stream brings this symbol's trades; `epoch()` changes with every interruption.
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
        """This symbol's trades wait for those before them."""
        self._wanted.put_nowait(symbol)

    async def run(self) -> None:
        """Serve until cancelled."""
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
                # the connection was lost meanwhile: what is missing is longer than what was asked for
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
