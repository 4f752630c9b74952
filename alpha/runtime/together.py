"""Several calls at the same time, with one outcome."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

#: As many questions to the exchange at the same time; more would only wait for each other.
AT_ONCE = 4


async def together(calls: Iterable[Callable[[], Awaitable[None]]], at_once: int = AT_ONCE) -> None:
    """Make all these calls, `at_once` at a time, and wait for all, however they end.

    Raises the fault of the first of them that has one: what the others did stands.
    """
    room = asyncio.Semaphore(at_once)

    async def make(call: Callable[[], Awaitable[None]]) -> None:
        async with room:
            await call()

    for outcome in await asyncio.gather(*(make(call) for call in calls), return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
