"""The supervisor of the demo: starts processes, restarts those that die, stops them on request."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from alpha.clock import SYSTEM_CLOCK, Backoff, is_set_within, wall_ms
from alpha.errors import Rejected
from alpha.logs import logger
from alpha.process import end_tasks

log = logger(__name__)
BACKOFF = Backoff(0.6, 10.0)
#: A process that ran this long before it died is restarted at once, in seconds.
STEADY_S = 20.0
_PR_SET_PDEATHSIG = 1


class State(StrEnum):
    """State of a process."""

    CREATED = "created"
    RUNNING = "running"
    RESTARTING = "restarting"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class Spec:
    """How to start one process. `name` is the container name; `kind` is "bot" or "service"."""

    name: str
    kind: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    health_port: int | None = None


@dataclass(slots=True)
class Process:
    """One process under supervision."""

    spec: Spec
    log_path: Path
    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    state: State = State.CREATED
    started_ms: int | None = None
    exit_code: int | None = None
    restarts: int = 0
    #: Set when the desired state changes.
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    #: Set when the state changes.
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    child: asyncio.subprocess.Process | None = None
    grace_s: float = 10.0

    def enter(self, state: State) -> None:
        """Set a new state and wake the waiters."""
        self.state = state
        self.moved.set()


class Supervisor:
    """Keeps the desired processes running, one task per process. Methods must be called on the event loop's thread."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._folder = folder
        #: File descriptors that every process inherits and keeps open.
        self.inherited: tuple[int, ...] = ()
        self._root = root
        self._tasks: list[asyncio.Task[None]] = []
        self.processes: dict[str, Process] = {}

    def add(self, spec: Spec, *, wanted: bool = True) -> None:
        """Add a process and, if `wanted`, start it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        process = Process(spec, self._folder / f"{spec.name}.log")
        if wanted:
            process.wanted.set()
        self.processes[spec.name] = process
        self._tasks.append(asyncio.create_task(self._keep(process), name=f"keep {spec.name}"))

    async def start(self, name: str) -> bool:
        """Start a process and keep it running; returns False when it was already. Raises Rejected
        for an unknown name.
        """
        process = self._find(name)
        if process.wanted.is_set() and process.state is State.RUNNING:
            return False
        process.wanted.set()
        process.changed.set()
        await self._reach(process, State.RUNNING)
        return True

    async def stop(self, name: str, grace_s: float = 10.0) -> bool:
        """Stop a process and wait for its end; returns False when it was not running."""
        process = self._find(name)
        if not process.wanted.is_set() and process.state is State.EXITED:
            return False
        process.wanted.clear()
        process.grace_s = grace_s
        process.changed.set()
        await self._reach(process, State.EXITED)
        return True

    async def restart(self, name: str, grace_s: float = 10.0) -> None:
        """Stop and start a process."""
        await self.stop(name, grace_s)
        await self.start(name)

    async def close(self, order: Sequence[str]) -> None:
        """Stop everything: first the named ones one by one, then the rest concurrently."""
        for name in order:
            if name in self.processes:
                await self.stop(name)
        await asyncio.gather(*(self.stop(name) for name in self.processes))
        await end_tasks(self._tasks)

    def tail(self, name: str, lines: int) -> str:
        """The last lines of a process's output. Raises Rejected for an unknown name."""
        path = self._find(name).log_path
        if not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - lines * 400))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])

    def _find(self, name: str) -> Process:
        try:
            return self.processes[name]
        except KeyError:
            raise Rejected(f"There is no process called {name!r}. There are: {', '.join(self.processes)}.") from None

    async def _reach(self, process: Process, state: State) -> None:
        while process.state is not state:
            process.moved.clear()
            await process.moved.wait()

    async def _keep(self, process: Process) -> None:
        deaths = 0
        while True:
            process.changed.clear()
            if not process.wanted.is_set():
                process.enter(State.EXITED)
                await process.changed.wait()
                continue
            began = asyncio.get_running_loop().time()
            await self._run_once(process)
            if not process.wanted.is_set():
                continue
            lived_s = asyncio.get_running_loop().time() - began
            deaths = 1 if lived_s > STEADY_S else deaths + 1
            pause_s = BACKOFF.pause_s(deaths, SYSTEM_CLOCK.random())
            process.enter(State.RESTARTING)
            process.restarts += 1
            log.warning("process_died", name=process.spec.name, exit_code=process.exit_code, again_in_s=pause_s)
            await is_set_within(process.changed, pause_s)

    async def _run_once(self, process: Process) -> None:
        with process.log_path.open("ab") as output:
            process.child = await asyncio.create_subprocess_exec(
                *process.spec.arguments,
                cwd=self._root,
                env=dict(process.spec.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                pass_fds=self.inherited,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )
        process.started_ms = wall_ms()
        process.enter(State.RUNNING)
        ended = asyncio.create_task(process.child.wait())
        try:
            while not ended.done():
                changed = asyncio.create_task(process.changed.wait())
                await asyncio.wait({ended, changed}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                if not ended.done() and not process.wanted.is_set():
                    await self._end(process, ended)
                process.changed.clear()
        finally:
            if not ended.done():
                process.child.kill()
            process.exit_code = await ended
            process.child = None

    async def _end(self, process: Process, ended: "asyncio.Task[int]") -> None:
        if process.child is None:
            return
        process.child.terminate()
        # A process stopped by SIGSTOP receives its SIGTERM only when it continues.
        process.child.send_signal(signal.SIGCONT)
        done, _ = await asyncio.wait({ended}, timeout=process.grace_s)
        if not done:
            process.child.kill()
            await ended


def _end_with_parent() -> None:
    """In the child: request a SIGTERM from the kernel when the supervisor dies for any reason."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def base_environment() -> dict[str, str]:
    """Environment inherited by every process: paths of programs and temporary files only."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "TZ") if name in os.environ}
