"""The free clock: business time at a given speed, after a speed change, paused, and as fast as possible."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from exchange_simulator.clock import FreeClock
from exchange_simulator.exchange import Exchange, Setup
from exchange_simulator.tests.server.served import BASE_MS, FLAT, START_MS, market, until


class Running:
    """An exchange on a free clock whose wall clock the test moves."""

    def __init__(self, speed: float, present: bool = False) -> None:
        self.wall = START_MS / 1000 + 61 if present else 1_000.0
        self.looks = 0
        self.exchange = Exchange(market(FLAT * 3), [], Setup(start_ms=START_MS, speed=speed, present=present))
        self.clock = FreeClock(self.exchange, self.look)

    def look(self) -> float:
        self.looks += 1
        return self.wall

    @property
    def now(self) -> int:
        return self.exchange.now_ms - START_MS

    async def moves(self, step: float) -> tuple[int, int]:
        """Moves the wall clock step by step until business time moves; returns by how much and in how many steps."""
        before, steps = self.now, 0
        while self.now == before:
            self.wall += step
            steps += 1
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)
        return self.now - before, steps


@asynccontextmanager
async def running(speed: float, present: bool = False) -> AsyncIterator[Running]:
    made = Running(speed, present)
    task = asyncio.create_task(made.clock.run())
    await asyncio.sleep(0)
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        made.exchange.close()


async def test_business_time_runs_at_its_speed() -> None:
    for speed in (1, 60, 600):
        async with running(speed) as run:
            run.wall += 2.5
            await until(lambda run=run, speed=speed: run.now == 2_500 * speed)  # type: ignore[misc]
            run.wall += 0.5
            await until(lambda run=run, speed=speed: run.now == 3_000 * speed)  # type: ignore[misc]


async def test_what_was_missed_at_speed_one_is_made_up_for() -> None:
    async with running(1) as run:
        run.wall += 600
        await until(lambda: run.now == 600_000)
        run.wall += 1
        await until(lambda: run.now == 601_000)


async def test_an_exchange_that_begins_now_shows_the_time_of_the_wall_clock() -> None:
    async with running(1, present=True) as run:
        await until(lambda: run.now == 61_000)
        run.wall += 90
        await until(lambda: run.now == 151_000)


async def test_the_time_of_a_pause_does_not_pass() -> None:
    async with running(60) as run:
        run.clock.paused = True
        run.wall += 1_000
        looks = run.looks
        await until(lambda: run.looks > looks)
        assert run.now == 0
        run.clock.paused = False
        moved, steps = await run.moves(0.1)
        assert moved <= steps * 6_000


async def test_the_speed_may_change_on_the_way_and_what_has_passed_stays() -> None:
    async with running(1) as run:
        run.wall += 1
        await until(lambda: run.now == 1_000)
        run.clock.speed = 600
        moved, steps = await run.moves(0.1)
        assert moved <= steps * 60_000
        before = run.now
        run.wall += 1
        await until(lambda: run.now >= before + 600_000)


async def test_as_fast_as_the_machine_can_a_market_is_walked_to_its_end() -> None:
    async with running(0.0) as run:
        await until(lambda: run.exchange.timeline.ended)
        bars = len(FLAT) * 3
        assert run.exchange.market.end_ms == START_MS + bars * BASE_MS
        assert run.exchange.timeline.points_done == bars * 4 - 1
