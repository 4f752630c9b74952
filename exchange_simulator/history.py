"""Generates history on demand in slices, so that no request blocks the others."""

import asyncio
import time
from collections.abc import Iterator

SLICE_S = 0.004


class HistoryBuilder:
    """Generates history for one request at a time and yields to other tasks between slices."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def build(self, steps: Iterator[None]) -> None:
        """Runs every step of a market's `build`."""
        async with self._turn:
            begun = time.perf_counter()
            for _ in steps:
                if time.perf_counter() - begun > SLICE_S:
                    await asyncio.sleep(0)
                    begun = time.perf_counter()
