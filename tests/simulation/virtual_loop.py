"""An event loop whose clock jumps to the next timer, and which runs several processes that can be frozen or killed.

Every handle belongs to the process in whose context it was made. Handles of one process run in order, as in asyncio; which
process is next is drawn from a seed. A frozen process keeps its handles and runs none; time goes on. A killed process
never runs again.
"""

import asyncio
import contextvars
import gc
import heapq
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from types import FunctionType, ModuleType
from typing import Any

#: Wall clock at the start of every simulation: 2025-01-06 00:00 UTC.
EPOCH_S = 1_736_121_600.0
_JITTER_S = 0.0008
_CLOCKS = ("time", "time_ns", "monotonic", "perf_counter", "monotonic_ns", "clock_gettime", "clock_gettime_ns")


@dataclass(eq=False)
class Process:
    """One simulated process. `tasks` keeps what a kill leaves unfinished from being collected while the run lasts."""

    name: str
    number: int = 0
    alive: bool = True
    frozen: bool = False
    queue: deque[asyncio.Handle] = field(default_factory=deque)
    tasks: list[Any] = field(default_factory=list)
    context: contextvars.Context = field(default_factory=contextvars.copy_context)

    def __post_init__(self) -> None:
        self.context.run(_process.set, self)

    @property
    def runs(self) -> bool:
        """True while it is neither frozen nor dead."""
        return self.alive and not self.frozen


_process: contextvars.ContextVar[Process] = contextvars.ContextVar("process")


#: What is collected after a run belongs to no process.
_NOBODY = Process("nobody")


def current() -> Process:
    """The process that runs now."""
    return _process.get(_NOBODY)


class Stuck(AssertionError):
    """Nothing can ever run again."""


class _Task(asyncio.Task[Any]):
    """A task whose place in a set is that of its number, not that of its address, which differs from run to run."""

    def __init__(self, number: int, work: Any, **more: Any) -> None:
        self.number = number
        super().__init__(work, **more)

    def __hash__(self) -> int:
        return self.number


class _Future(asyncio.Future[Any]):
    """As `_Task`."""

    def __init__(self, number: int, **more: Any) -> None:
        self.number = number
        super().__init__(**more)

    def __hash__(self) -> int:
        return self.number


class _Handle(asyncio.Handle):
    """A handle that knows its process; made a hundred thousand times, so without asking for a debug mode."""

    __slots__ = ("owner",)

    def __init__(self, callback: Any, args: Any, loop: "VirtualLoop", context: contextvars.Context | None) -> None:
        self._context = context = contextvars.copy_context() if context is None else context
        self._loop, self._callback, self._args = loop, callback, args
        self._cancelled, self._repr, self._source_traceback = False, None, None
        self.owner = context.get(_process, loop.outside)


class _TimerHandle(asyncio.TimerHandle):
    """As `_Handle`."""

    __slots__ = ("owner",)

    def __init__(
        self, when: float, callback: Any, args: Any, loop: "VirtualLoop", context: contextvars.Context | None
    ) -> None:
        self._context = context = contextvars.copy_context() if context is None else context
        self._loop, self._callback, self._args = loop, callback, args
        self._cancelled, self._repr, self._source_traceback = False, None, None
        self._when, self._scheduled = when, True
        self.owner = context.get(_process, loop.outside)


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module docstring."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__()
        self.now_s = 0.0
        self.steps = 0
        #: Of every step until now: the same for the same schedule.
        self.digest = 0
        #: Added to every wall clock; a step of it is a disturbance.
        self.wall_offset_s = 0.0
        self.outside = Process("outside")
        self._draw = draw
        self._ready_now: list[Process] = []
        self._timers: list[tuple[float, int, _TimerHandle]] = []
        self._number = 0
        self._made = 0
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        """Virtual seconds since the start."""
        return self.now_s

    def spawn(self, process: Process, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run `work` as this process."""
        return self.create_task(work, context=process.context.copy())

    def kill(self, process: Process) -> None:
        """End a process at once, in the middle of whatever it does."""
        process.alive = False
        process.queue.clear()

    def freeze(self, process: Process, *, frozen: bool) -> None:
        """Stop or continue a process."""
        process.frozen = frozen
        if process.runs and process.queue:
            self._note(process)

    # --- what asyncio calls ----------------------------------------------------------------------------------------

    def _make_task(self, loop: Any, work: Any, **more: Any) -> "asyncio.Task[Any]":
        self._made += 1
        task = _Task(self._made, work, loop=loop, **more)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        owner = more["context"].get(_process) if more.get("context") is not None else _process.get(None)
        (owner or self.outside).tasks.append(task)
        return task

    def create_future(self) -> "asyncio.Future[Any]":
        """See `_Future`."""
        self._made += 1
        return _Future(self._made, loop=self)

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        """Queue it with its process."""
        handle = _Handle(callback, args, self, context)
        self._queue(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.Handle:
        """As `call_soon`: there are no threads."""
        return self.call_soon(callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        """Queue it for later, a trifle later than asked, as on a real machine."""
        when = max(when, self.now_s) + self._draw.random() * _JITTER_S
        timer = _TimerHandle(when, callback, args, self, context)
        self._number += 1
        heapq.heappush(self._timers, (when, self._number, timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Dropped when its time comes."""

    def _queue(self, handle: "_Handle | _TimerHandle") -> None:
        process = handle.owner
        if not process.alive:
            return
        process.queue.append(handle)
        if len(process.queue) == 1 and not process.frozen:
            self._note(process)

    def _note(self, process: Process) -> None:
        if process not in self._ready_now:
            self._ready_now.append(process)

    def _run_once(self) -> None:
        ready = self._ready_now
        if not ready:
            self._jump()
            return
        at = self._draw.randrange(len(ready)) if len(ready) > 1 else 0
        process = ready[at]
        if not process.runs or not process.queue:
            ready.pop(at)
            return
        handle = process.queue.popleft()
        if not process.queue:
            ready.pop(at)
        if not handle._cancelled:
            self.steps += 1
            self.digest = hash((self.digest, self.now_s, process.number))
            handle._run()

    def _jump(self) -> None:
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not timers:
            raise Stuck("no process can go on and no timer is set")
        self.now_s = max(self.now_s, timers[0][0])
        while timers and timers[0][0] <= self.now_s:
            handle = heapq.heappop(timers)[2]
            if not handle._cancelled:
                self._queue(handle)

    def close(self) -> None:
        """Forget everything."""
        self._ready_now.clear()
        self._timers.clear()
        super().close()


@cache
def _through_the_module(name: str) -> Callable[..., Any]:
    def look(*args: Any) -> Any:
        return getattr(time, name)(*args)

    return look


@cache
def unbind_clocks() -> None:
    """Let every clock that was bound at an import be looked up when it is called, so that `clocks_of` reaches it.

    A default of a function, a factory of a dataclass field, a name that a module imported. Once a process.
    """
    through = {id(getattr(time, name)): _through_the_module(name) for name in _CLOCKS}
    gc.unfreeze()  # what is frozen is not listed
    for found in gc.get_objects():
        if isinstance(found, FunctionType):
            if any(id(value) in through for value in found.__defaults__ or ()):
                found.__defaults__ = tuple(through.get(id(value), value) for value in found.__defaults__ or ())
            named = found.__kwdefaults__ or {}
            named.update((name, through[id(value)]) for name, value in list(named.items()) if id(value) in through)
            for cell in found.__closure__ or ():
                with suppress(ValueError):  # an empty cell
                    cell.cell_contents = through.get(id(cell.cell_contents), cell.cell_contents)
        elif isinstance(found, ModuleType) and found is not time:
            for name, value in list(vars(found).items()):
                if id(value) in through:
                    setattr(found, name, through[id(value)])


@contextmanager
def clocks_of(loop: VirtualLoop) -> Iterator[None]:
    """Every clock of the standard library shows this loop's time."""

    def wall_s() -> float:
        return EPOCH_S + loop.now_s + loop.wall_offset_s

    def steady_s() -> float:
        return 1_000.0 + loop.now_s

    unbind_clocks()
    put = {
        "time": wall_s,
        "time_ns": lambda: int(wall_s() * 1e9),
        "monotonic": steady_s,
        "perf_counter": steady_s,
        "monotonic_ns": lambda: int(steady_s() * 1e9),
        "clock_gettime": lambda _clock: steady_s(),
        "clock_gettime_ns": lambda _clock: int(steady_s() * 1e9),
    }
    kept = {name: getattr(time, name) for name in _CLOCKS}
    for name, clock in put.items():
        setattr(time, name, clock)
    try:
        yield
    finally:
        for name, clock in kept.items():
            setattr(time, name, clock)
