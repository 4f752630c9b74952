"""Concurrent calls: how many, and what happens to the others when one fails."""

import asyncio
from functools import partial

import pytest

from alpha.concurrency import gather_bounded
from alpha.errors import Retry


async def test_all_are_made_and_no_more_at_once_than_was_said() -> None:
    done: list[int] = []
    inside = most = 0

    async def call(number: int) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1
        done.append(number)

    await gather_bounded((partial(call, number) for number in range(10)), at_once=3)
    assert sorted(done) == list(range(10))
    assert most == 3


async def test_the_first_fault_comes_at_once_and_the_others_are_ended() -> None:
    ended = asyncio.Event()
    begun: list[str] = []

    async def hang() -> None:
        begun.append("hang")
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def fail() -> None:
        begun.append("fail")
        raise Retry("The exchange is away.")

    async def never() -> None:
        begun.append("never")

    with pytest.raises(Retry):
        await gather_bounded((hang, fail, hang, never), at_once=2)
    assert ended.is_set()
    assert begun.count("fail") == 1
    assert "never" not in begun
