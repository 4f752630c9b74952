"""One round: trade, break, repair, recover, compare."""

import asyncio
import time

from tests.faults.books import Watcher, bot_differs, settle
from tests.faults.fault_env import FaultEnv
from tests.faults.results import Outcome
from tests.faults.rounds import Fault

#: A crowded machine is no fault; what it took is reported.
RECOVERY_S = 240.0


class _Parts:
    """The seconds of each part of a round."""

    def __init__(self) -> None:
        self.took_s: dict[str, float] = {}
        self._began_s = time.monotonic()

    def done(self, part: str) -> None:
        """What has passed since the last part was this one's."""
        now_s = time.monotonic()
        self.took_s[part] = round(now_s - self._began_s, 2)
        self._began_s = now_s


async def play(arena: FaultEnv, troubles: tuple[Fault, ...], number: int = 0) -> Outcome:
    """Run one round with these faults at the same time."""
    name = " + ".join(trouble.name for trouble in troubles)
    before = arena.sent.orders
    arena.proxy.altered = 0
    watcher = Watcher(arena)
    watching = asyncio.create_task(watcher.run())
    faults: list[str] = []
    recovery_s = -1.0
    parts = _Parts()
    try:
        await arena.replenish()
        faults += arena.stack.alive()
        arena.trade()
        await asyncio.sleep(arena.draw.uniform(0.1, 0.5))
        parts.done("begin")
        try:
            await asyncio.gather(*(trouble.run(arena) for trouble in troubles))
        finally:
            arena.proxy.heal()
        parts.done("break")
        healed_s, healed_ms = time.monotonic(), arena.now_ms()
        await asyncio.sleep(arena.draw.uniform(0.1, 0.5))
        arena.rest()
        try:
            await arena.synced_since(healed_ms, RECOVERY_S)
            recovery_s = time.monotonic() - healed_s
        except AssertionError as fault:
            faults.append(str(fault))
        parts.done("recover")
        faults += arena.stack.alive()
        arena.agreed_last = ""
        faults += await settle(arena, 30.0)
        parts.done("settle")
        faults += await bot_differs(arena, 90.0)
        parts.done("bot")
    finally:
        arena.rest()
        watcher.stop = True
        await asyncio.wait({watching}, timeout=30)
    parts.done("end")
    if not watching.done() or watching.exception() is not None:
        faults.append(f"the watcher failed: {watching!r}")
    faults += watcher.lies
    faults += [f"fenced order: {text}" for text in arena.fenced]
    arena.fenced.clear()
    faults += arena.memory.faults()
    if arena.listener is not None and not arena.listener.running:
        faults.append(f"the listener is dead: {arena.listener.said()[-600:]}")
    executions = arena.sent.orders - before
    return Outcome(
        number,
        name,
        recovery_s,
        executions,
        arena.proxy.altered,
        faults,
        dict(arena.memory.most_mb),
        parts.took_s,
        arena.agreed_last,
    )
