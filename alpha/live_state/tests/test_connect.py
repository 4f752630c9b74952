"""A task that asks Redis ends when it is cancelled, whatever the request is doing in that moment."""

import asyncio

import pytest

from alpha.clock import is_set_within
from alpha.live_state.client import TextRedis
from alpha.live_state.connect import RedisClients
from alpha.process import end_tasks


@pytest.mark.parametrize("writer", [False, True])
async def test_a_cancelled_request_ends_its_task_after_any_number_of_turns(
    redis_links: RedisClients, writer: bool
) -> None:
    redis = redis_links.writer(0) if writer else redis_links.database(0)
    for turns in range(40):
        await redis.ping()
        task = asyncio.create_task(_ask_and_stay(redis))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        ended, _ = await asyncio.wait([task], timeout=5)
        await end_tasks([task])
        assert ended, f"cancelled after {turns} turns of the loop, it went on"
    assert await redis.ping()


async def _ask_and_stay(redis: TextRedis) -> None:
    await redis.get("nothing")
    await asyncio.Event().wait()


async def test_a_wait_for_an_event_that_was_set_in_the_moment_of_the_cancellation_ends() -> None:
    event = asyncio.Event()

    async def wait_and_stay() -> None:
        await is_set_within(event, 60)
        await asyncio.Event().wait()

    task = asyncio.create_task(wait_and_stay())
    for _ in range(3):
        await asyncio.sleep(0)
    event.set()
    task.cancel()
    ended, _ = await asyncio.wait([task], timeout=5)
    await end_tasks([task])
    assert ended


async def test_a_wait_for_an_event_says_whether_it_was_set() -> None:
    event = asyncio.Event()
    assert not await is_set_within(event, 0.01)
    event.set()
    assert await is_set_within(event, 0)
