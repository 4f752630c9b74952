"""How a store fails: each call before or after it took effect, or not at all until the outage is over."""

import asyncio
import random
from dataclasses import dataclass


@dataclass
class Outages:
    """The health of one store. `share` of the calls fail; while it `hangs` none is answered."""

    draw: random.Random
    share: float = 0.0
    hangs: bool = False
    refuses_writes: bool = False
    calls: int = 0
    failed: int = 0

    async def meet(self, kind: type[Exception], limit_s: float = 10.0) -> tuple[Exception | None, Exception | None]:
        """The faults of one call: one that is raised before it takes effect, one after it."""
        self.calls += 1
        if self.draw.random() < 0.3:
            # What takes a moment lets others run in between.
            await asyncio.sleep(self.draw.random() * 0.004)
        waited_s = 0.0
        while self.hangs:
            await asyncio.sleep(0.25)
            waited_s += 0.25
            if waited_s >= limit_s:
                return TimeoutError(), None
        if self.draw.random() >= self.share:
            return None, None
        self.failed += 1
        fault = kind("the connection broke")
        return (fault, None) if self.draw.random() < 0.5 else (None, fault)
