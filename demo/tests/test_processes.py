import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from demo.processes import Spec, State, Supervisor, base_environment

WAITS = "import signal; signal.signal(signal.SIGTERM, lambda *_: exit(0)); signal.pause()"


def spec(name: str, code: str = WAITS) -> Spec:
    return Spec(name, "bot", [sys.executable, "-c", code], base_environment())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    made = Supervisor(tmp_path / "logs", tmp_path)
    yield made
    await made.close([])


async def test_a_process_that_dies_is_started_again(supervisor: Supervisor) -> None:
    supervisor.add(spec("a"))
    process = supervisor.processes["a"]
    await until(lambda: process.child)
    assert process.child is not None
    first = process.child.pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: process.child and process.child.pid != first)
    assert process.restarts == 1


async def test_a_stopped_process_stays_stopped_until_it_is_started(supervisor: Supervisor) -> None:
    supervisor.add(spec("a"))
    process = supervisor.processes["a"]
    await until(lambda: process.child)
    assert await supervisor.stop("a")
    assert (process.state, process.child) == (State.EXITED, None)
    assert not await supervisor.stop("a")
    assert await supervisor.start("a")
    assert not await supervisor.start("a")


async def test_a_process_that_ignores_the_request_is_killed_after_its_grace(supervisor: Supervisor) -> None:
    supervisor.add(
        spec(
            "a",
            "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()",
        )
    )
    process = supervisor.processes["a"]
    await until(lambda: "deaf" in supervisor.tail("a", 5))
    assert await supervisor.stop("a", grace_s=0.1)
    assert process.exit_code == -signal.SIGKILL


async def test_what_a_process_writes_can_be_read(supervisor: Supervisor) -> None:
    supervisor.add(spec("a", "print('hello', flush=True); import signal; signal.pause()"))
    await until(lambda: supervisor.tail("a", 3) == "hello")
