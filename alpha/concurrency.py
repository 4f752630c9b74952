"""Several calls at the same time, with one outcome."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from alpha.process import end_tasks

#: As many questions to the exchange at the same time; more would only wait for each other.
AT_ONCE = 4


async def gather_bounded(calls: Iterable[Callable[[], Awaitable[None]]], at_once: int = AT_ONCE) -> None:
    """Make all these calls, `at_once` at a time, and wait for all.

    Raises the first fault as soon as it comes, and ends the calls that are under way: what was done stands.
    """
    room = asyncio.Semaphore(at_once)

    async def make(call: Callable[[], Awaitable[None]]) -> None:
        async with room:
            await call()

    tasks = [asyncio.create_task(make(call)) for call in calls]
    try:
        await asyncio.gather(*tasks)
    finally:
        await end_tasks(tasks)
