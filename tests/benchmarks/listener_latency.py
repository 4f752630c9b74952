"""From a frame's arrival to Redis, to the commit and to a woken reader, at a steady pace, beside floors of the same pace.

Between two fills everything sleeps, so each fill pays for waking up: processors that rest, caches that are cold. A bare
round trip in a tight loop pays for none of it. So the floors are taken both ways: in a tight loop, and at the pace of the
fills, each waking from a rest of its own. Readers of events are other processes, here as in life.
"""

import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from typing import Any

import uvloop

from alpha.config.services import RedisSettings
from alpha.live_state.connect import RedisClients
from alpha.live_state.events import EventReader
from alpha.registry import Bot
from demo.redis import EmbeddedRedis

PER_SECOND = 100.0


def now_ns() -> int:
    """The clock that all processes of a machine share."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


@dataclass(frozen=True, slots=True)
class Floor:
    """Median milliseconds of one bare call, in a tight loop and at the pace of the fills."""

    tight_ms: float
    paced_ms: float


async def pace(began_s: float, number: int) -> None:
    """Sleep until the turn of this number."""
    due_s = began_s + number / PER_SECOND
    while (left_s := due_s - time.perf_counter()) > 0:
        await asyncio.sleep(left_s if left_s < 0.002 else left_s - 0.001)


async def floor_of(act: Callable[[], Awaitable[object]], times: int) -> Floor:
    """Take one call so many times each way."""
    tight, paced = [], []
    for _ in range(times):
        began = time.perf_counter()
        await act()
        tight.append(time.perf_counter() - began)
    first = time.perf_counter()
    for number in range(times):
        await pace(first, number)
        began = time.perf_counter()
        await act()
        paced.append(time.perf_counter() - began)
    return Floor(1e3 * statistics.median(tight), 1e3 * statistics.median(paced))


def follow(settings: RedisSettings, bot: Bot, fills: int, pipe: Pipe) -> None:
    """The process of a strategy: reads the bot's events as a strategy does, and notes when each fill woke it."""

    async def main() -> None:
        links = RedisClients(settings)
        reader = EventReader(links.of(bot), bot.id)
        await reader.read(block_ms=1)
        pipe.send("ready")
        woken: list[int] = []
        while len(woken) < fills:
            events = await reader.read(block_ms=500)
            woken.extend([now_ns()] * sum(event.type == "fill" for event in events))
            if pipe.poll():
                break
        pipe.send(woken)
        await links.close()

    uvloop.run(main())


@dataclass(frozen=True, slots=True)
class Spent:
    """Milliseconds of each fill, from the arrival of its frame."""

    redis: list[float]
    commit: list[float]
    woken: list[float]


async def measure(bench: Any, redis: EmbeddedRedis, bot: Bot, pipe: Pipe, begin: int, seconds: float) -> Spent:
    """Have the pusher push at the pace, and note what happens when. `bench` is one bot's listening."""
    fills = int(PER_SECOND * seconds)
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=follow, args=(redis.settings(), bot, fills, theirs), daemon=True
    )
    process.start()
    await asyncio.to_thread(ours.recv)
    pipe.send((begin, fills, 1, False, PER_SECOND))
    await asyncio.to_thread(pipe.recv)
    bench.arrivals.clear()
    committed: list[int] = []
    visible: list[int] = []
    commit, apply = bench.database._commit, bench.live._apply

    async def timed_commit(rows: Any) -> None:
        await commit(rows)
        committed.extend([now_ns()] * len(rows))

    async def timed_apply(changes: Any, **more: Any) -> int:
        answer: int = await apply(changes, **more)
        visible.extend([now_ns()] * len(changes))
        return answer

    bench.database._commit, bench.live._apply = timed_commit, timed_apply
    try:
        pipe.send("go")
        deadline_s = time.monotonic() + seconds * 3 + 10
        # looking more often would keep this process awake
        while not ours.poll():
            await asyncio.sleep(0.5)
            if time.monotonic() > deadline_s:
                ours.send("enough")
                break
        woken: list[int] = await asyncio.to_thread(ours.recv)
        await bench.database.drained()
    finally:
        bench.database._commit, bench.live._apply = commit, apply
        process.kill()
    if not len(woken) == len(visible) == len(committed) == len(bench.arrivals) == fills:
        raise AssertionError(
            f"of {fills} fills {len(bench.arrivals)} came, {len(visible)} were written to Redis, {len(committed)} "
            f"committed, and a reader was told of {len(woken)}"
        )

    def spent(ends: list[int]) -> list[float]:
        return [(end - start) / 1e6 for start, end in zip(bench.arrivals, ends, strict=True)]

    return Spent(spent(visible), spent(committed), spent(woken))
