"""One round: trade, break, repair, recover, compare."""

import asyncio
import time
from dataclasses import dataclass

from tests.faults.books import Watcher, bot_differs, settle
from tests.faults.fault_env import FaultEnv
from tests.faults.rounds import Fault

#: A crowded machine is no fault; what it took is reported.
RECOVERY_S = 240.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a round. `faults` is empty when every guarantee held."""

    name: str
    recovery_s: float
    executions: int
    altered: int
    faults: list[str]
    memory_mb: dict[str, int]


async def play(arena: FaultEnv, troubles: tuple[Fault, ...]) -> Outcome:
    """Run one round with these faults at the same time."""
    name = " + ".join(trouble.name for trouble in troubles)
    before = arena.sent.orders
    arena.proxy.altered = 0
    watcher = Watcher(arena)
    watching = asyncio.create_task(watcher.run())
    faults: list[str] = []
    recovery_s = -1.0
    try:
        await arena.replenish()
        await arena.forgive_restarts()
        faults += arena.stack.alive()
        arena.trade()
        await asyncio.sleep(arena.draw.uniform(0.1, 0.5))
        try:
            await asyncio.gather(*(trouble.run(arena) for trouble in troubles))
        finally:
            arena.proxy.heal()
        healed_s, healed_ms = time.monotonic(), arena.now_ms()
        await asyncio.sleep(arena.draw.uniform(0.1, 0.5))
        arena.rest()
        try:
            await arena.synced_since(healed_ms, RECOVERY_S)
            recovery_s = time.monotonic() - healed_s
        except AssertionError as fault:
            faults.append(str(fault))
        await arena.forgive_restarts()
        faults += arena.stack.alive()
        faults += await settle(arena, 30.0)
        faults += await bot_differs(arena, 90.0)
    finally:
        arena.rest()
        watcher.stop = True
        await asyncio.wait({watching}, timeout=30)
    if not watching.done() or watching.exception() is not None:
        faults.append(f"the watcher failed: {watching!r}")
    faults += watcher.lies
    faults += arena.memory.faults()
    if arena.listener is not None and not arena.listener.running:
        faults.append(f"the listener is dead: {arena.listener.said()[-600:]}")
    executions = arena.sent.orders - before
    return Outcome(name, recovery_s, executions, arena.proxy.altered, faults, dict(arena.memory.most_mb))
