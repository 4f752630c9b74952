import asyncio
import contextlib
import subprocess
import sys

import pytest

from alpha.process import end_tasks, heed_cancellation

_STANDS = """
import sys, time
from alpha import process

process.STALL_LIMIT_S = 0.5

async def main(stop, pulse):
    time.sleep(30)

sys.exit(process.run(main))
"""


def test_a_loop_that_stands_still_ends_its_process_so_that_it_is_restarted() -> None:
    ended = subprocess.run([sys.executable, "-c", _STANDS], capture_output=True, text=True, timeout=25, check=False)
    assert ended.returncode == 70
    assert "The event loop stood still" in ended.stderr


async def test_a_task_that_loses_a_cancellation_is_cancelled_again() -> None:
    lost = 0

    async def stubborn() -> None:
        nonlocal lost
        while lost < 2:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost += 1
        await asyncio.sleep(60)

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await end_tasks([task])
    assert lost == 2
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_a_loop_whose_cancellation_was_lost_ends_at_its_next_turn() -> None:
    turns = 0

    async def loop() -> None:
        nonlocal turns
        while True:
            heed_cancellation()
            turns += 1
            # as a library does that turns it into an error of its own
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            await asyncio.sleep(0)

    async with asyncio.timeout(5):
        task = asyncio.create_task(loop())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert turns == 1
