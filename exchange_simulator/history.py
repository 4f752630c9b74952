"""History that must be made before it can be shown is made in slices, so that no request holds the others up."""

import asyncio
import time
from collections.abc import Iterator

SLICE_S = 0.004


class HistoryBuilder:
    """Makes history for one request after another; between two slices everything else gets its turn."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def build(self, steps: Iterator[None]) -> None:
        """Takes every step of a market's `build`."""
        async with self._turn:
            begun = time.perf_counter()
            for _ in steps:
                if time.perf_counter() - begun > SLICE_S:
                    await asyncio.sleep(0)
                    begun = time.perf_counter()
