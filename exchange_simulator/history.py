"""Generates history on demand in slices, so that no request blocks the others."""

import asyncio
import time
from collections.abc import Iterator

SLICE_S = 0.002
#: A request takes several turns of the loop, from its first byte to its answer: so many are given between slices.
TURNS = 5


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
                    for _ in range(TURNS):
                        await asyncio.sleep(0)
                    begun = time.perf_counter()
