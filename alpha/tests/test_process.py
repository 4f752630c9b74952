import asyncio
import contextlib
import subprocess
import sys

import pytest

from alpha.process import InsistentTaskGroup, end_tasks

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


_FROZEN = """
import asyncio, os, signal, subprocess, sys
from alpha import process

process.STALL_LIMIT_S = 1.0
process._LOOK_S = 0.25

async def main(stop, pulse):
    for _ in range(3):
        subprocess.Popen(["sh", "-c", f"sleep 2; kill -CONT {os.getpid()}"])
        os.kill(os.getpid(), signal.SIGSTOP)
        await asyncio.sleep(0.6)

sys.exit(process.run(main))
"""


def test_a_process_that_was_frozen_has_not_stalled() -> None:
    ended = subprocess.run([sys.executable, "-c", _FROZEN], capture_output=True, text=True, timeout=25, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (
            "ExceptionGroup('tasks', [ExceptionGroup('inner', [LeaseLost('Another holds it.')])])",
            70,
            "Another holds it.\n",
        ),
        ("ExceptionGroup('tasks', [LeaseLost('Another holds it.'), KeyError('x')])", 1, "An unforeseen fault ended"),
    ],
)
def test_a_fault_that_ended_a_group_of_tasks_is_told_as_it_is(raised: str, code: int, said: str) -> None:
    text = _STANDS.replace("time.sleep(30)", f"raise {raised}")
    text = text.replace("from alpha import process", "from alpha import process\nfrom alpha.lease import LeaseLost")
    ended = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=25, check=False)
    assert ended.returncode == code
    assert ended.stderr.startswith(said)


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


async def test_a_group_ends_although_one_of_its_tasks_loses_its_cancellation() -> None:
    lost = 0

    async def stubborn() -> None:
        nonlocal lost
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            lost += 1  # turned into an error of a library, and taken for a passing one
        await asyncio.sleep(60)

    async def fails() -> None:
        await asyncio.sleep(0)
        raise RuntimeError("the lease is lost")

    async def inner() -> None:
        async with InsistentTaskGroup(0.01) as tasks:
            tasks.create_task(stubborn())
            tasks.create_task(asyncio.sleep(60))

    async def outer() -> None:
        async with InsistentTaskGroup(0.01) as tasks:
            tasks.create_task(stubborn())
            tasks.create_task(inner())
            tasks.create_task(fails())

    async with asyncio.timeout(5):
        with pytest.raises(BaseExceptionGroup):
            await outer()
    assert lost == 2
