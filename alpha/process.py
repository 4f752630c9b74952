"""The lifecycle of a service process: event loop, signals, a watchdog for a stalled loop, the exit code."""

import asyncio
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, TypeVar

import uvloop

from alpha.errors import AlphaError
from alpha.logs import logger

STALL_LIMIT_S = 30.0
_LOOK_S = 1.0
#: How long tasks may take to end after the service; then they are ended with the process.
END_LIMIT_S = 3.0
#: When tasks of a group that did not end are cancelled again; an account that is given up may take 3 s to be written.
AGAIN_S = 3.5
log = logger(__name__)
T = TypeVar("T")


@dataclass(slots=True)
class LoopPulse:
    """Records when the event loop last ran, readable from other threads. `age_s` grows while the loop is stalled."""

    beat_s: float = field(default_factory=time.monotonic)

    def age_s(self) -> float:
        """Seconds since the loop last ran."""
        return time.monotonic() - self.beat_s

    async def keep(self) -> None:
        """Beat twice per second while the loop runs."""
        while True:
            self.beat_s = time.monotonic()
            await asyncio.sleep(0.5)


async def end_tasks(tasks: Iterable["asyncio.Task[object]"], limit_s: float | None = None) -> bool:
    """Cancel tasks and wait until they have ended; False when some have not ended within `limit_s`.

    A cancellation can be lost: a library's timeout expiring at the same instant turns it into a TimeoutError, which a
    loop takes for a transient error. So tasks are cancelled repeatedly until they have ended.
    """
    left = set(tasks)
    began_s = time.monotonic()
    while left:
        if limit_s is not None and time.monotonic() - began_s > limit_s:
            return False
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.5)
    return True


class InsistentTaskGroup(asyncio.TaskGroup):
    """A task group that cancels again what has not ended: asyncio's cancels once, and a lost cancellation would hold it for ever.

    As soon as one of its tasks has failed or was cancelled, all others are to end.
    """

    def __init__(self, again_s: float = AGAIN_S) -> None:
        super().__init__()
        self._again_s = again_s
        self._left: set[asyncio.Task[Any]] = set()

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> "asyncio.Task[T]":
        """As asyncio's."""
        task = super().create_task(coro, name=name, context=context)
        self._left.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._left.discard(task)
        if task.cancelled() or task.exception() is not None:
            asyncio.get_running_loop().call_later(self._again_s, self._again)

    def _again(self) -> None:
        if not self._left:
            return
        log.warning("cancelled_again", left=[task.get_name() for task in self._left][:10])
        for task in self._left:
            task.cancel()
        asyncio.get_running_loop().call_later(self._again_s, self._again)


def run(main: Callable[[asyncio.Event, LoopPulse], Awaitable[None]]) -> int:
    """Run `main(stop, pulse)` until it returns; `stop` is set by SIGTERM and SIGINT.

    Returns the exit code: 0 after a clean end, otherwise that of the error, after one sentence on standard error. A
    loop stalled for 30 s ends the process with code 70, so that it is restarted.
    """
    # What was imported is never garbage, so that full collections need not look at it.
    gc.freeze()
    try:
        return uvloop.run(_guarded(main))
    except AlphaError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    except KeyboardInterrupt:
        return 130


async def _guarded(main: Callable[[asyncio.Event, LoopPulse], Awaitable[None]]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    pulse = LoopPulse()
    beating = asyncio.create_task(pulse.keep())
    threading.Thread(target=_end_when_stalled, args=(pulse,), daemon=True, name="stall-watchdog").start()
    code = 0
    try:
        try:
            await main(stop, pulse)
        except ExceptionGroup as faults:
            # a fault foreseen is one also when it ended a group of tasks
            if faults.split(AlphaError)[1] is None:
                raise first_of(faults) from None
            raise
    except AlphaError as fault:
        sys.stderr.write(f"{fault}\n")
        code = fault.exit_code
    except Exception:
        # An unexpected error: the traceback belongs in the log, one sentence in front of the user.
        log.exception("unforeseen_fault")
        sys.stderr.write("An unforeseen fault ended this process; the log has its trace.\n")
        code = 1
    beating.cancel()
    await leave(code)
    return code


def first_of(fault: BaseException) -> BaseException:
    """The innermost first fault of a group; anything else is returned as it is."""
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return fault


async def leave(code: int) -> None:
    """End every other task of this loop; exit the process with `code` when one of them does not end."""
    me = asyncio.current_task()
    if not await end_tasks((task for task in asyncio.all_tasks() if task is not me), END_LIMIT_S):
        log.warning("ended_by_force", left=[task.get_name() for task in asyncio.all_tasks() if task is not me][:10])
        sys.stderr.flush()
        os._exit(code)


def _end_when_stalled(pulse: LoopPulse) -> None:
    # Counted in looks of this thread: a process that was frozen or suspended has not stalled, and wakes this thread first.
    looks, seen_s = 0, pulse.beat_s
    while looks * _LOOK_S <= STALL_LIMIT_S:
        time.sleep(_LOOK_S)
        looks = looks + 1 if pulse.beat_s == seen_s else 0
        seen_s = pulse.beat_s
    sys.stderr.write(f"The event loop stood still for {STALL_LIMIT_S:.0f} s; ending to be restarted.\n")
    sys.stderr.flush()
    os._exit(70)
