"""The chart worker: charts are drawn in a separate process.

matplotlib needs some fifty milliseconds of CPU per chart; a separate process keeps that off the event loop.
"""

import asyncio
import multiprocessing
import multiprocessing.process
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from alpha.errors import Retry
from operations.page import Picture
from telegram_manager.charts import draw, warm_up

#: The first chart of each process waits for its imports, which are slow on a loaded machine.
OPEN_LIMIT_S, DRAW_LIMIT_S = 120.0, 20.0


class ChartWorker:
    """Draws in a separate process, started once and restarted if it died."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    async def open(self) -> None:
        """Start the process and let it import what it needs."""
        await self._run(OPEN_LIMIT_S, warm_up)

    async def draw(self, picture: Picture) -> bytes:
        """Return the chart as PNG; Retry if the process died or took too long."""
        return await self._run(DRAW_LIMIT_S, draw, picture)

    def close(self) -> None:
        """End the process."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    async def _run(self, limit_s: float, work: Callable[..., bytes], *arguments: object) -> bytes:
        if self._pool is None:
            # spawn: a fork would inherit this process's event loop and sockets
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_end_with_parent)
            limit_s = OPEN_LIMIT_S
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(limit_s):
                return await loop.run_in_executor(self._pool, work, *arguments)
        except (BrokenProcessPool, TimeoutError):
            self.close()
            raise Retry("The picture could not be drawn. Ask again.") from None


def _end_with_parent() -> None:
    """End the chart process when the command centre has ended, even if it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_and_end, args=(parent,), daemon=True).start()


def _wait_and_end(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(0)
