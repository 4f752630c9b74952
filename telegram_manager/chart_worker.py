"""The painter: pictures are drawn in a process of their own.

matplotlib needs some fifty milliseconds of CPU for each; in another process that never holds up the event loop.
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

#: The first picture waits for imports, which take long on a machine under load.
OPEN_LIMIT_S, DRAW_LIMIT_S = 120.0, 20.0


class ChartWorker:
    """Draws in a process of its own, started once and started again when it died."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    async def open(self) -> None:
        """Start the process and let it import what it needs."""
        await self._run(OPEN_LIMIT_S, warm_up)

    async def draw(self, picture: Picture) -> bytes:
        """The picture as PNG; Retry when the drawing process died or takes too long."""
        return await self._run(DRAW_LIMIT_S, draw, picture)

    def close(self) -> None:
        """End the process."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    async def _run(self, limit_s: float, work: Callable[..., bytes], *arguments: object) -> bytes:
        if self._pool is None:
            # a fresh interpreter: a fork would inherit this one's event loop and sockets
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_end_with_parent)
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.wait_for(loop.run_in_executor(self._pool, work, *arguments), limit_s)
        except (BrokenProcessPool, TimeoutError):
            self.close()
            raise Retry("The picture could not be drawn. Ask again.") from None


def _end_with_parent() -> None:
    """The drawing process ends when the command centre has ended, also when that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_and_end, args=(parent,), daemon=True).start()


def _wait_and_end(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(0)
