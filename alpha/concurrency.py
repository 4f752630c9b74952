"""Runs several calls concurrently, with one outcome."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from alpha.process import end_tasks

#: Concurrent requests to the exchange; more would only wait for each other.
AT_ONCE = 4


async def gather_bounded(calls: Iterable[Callable[[], Awaitable[None]]], at_once: int = AT_ONCE) -> None:
    """Make all these calls, at most `at_once` concurrently, and wait for all.

    Raises the first error as soon as it occurs and cancels the calls in progress; completed ones stand.
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
