"""What the tests stand on: forked processes behave as started ones, and what fails to start leaves nothing behind."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support import forkserver
from tests.support.bot_harness import BotHarness, Servers
from tests.support.world import Process, Simulator

_SCRIPT = """
import atexit, os, signal, sys, time
word = sys.argv[1]
atexit.register(lambda: print("left"))
if __name__ != "__main__":
    sys.exit("not the main module")
if word == "stay":
    print(os.getpid(), os.getppid(), flush=True)
    time.sleep(600)
print(os.environ.get("COLOUR"), os.environ.get("HOME"), os.getcwd(), sys.stdin.read())
print("on standard error", file=sys.stderr)
{"code": lambda: sys.exit(3), "words": lambda: sys.exit("a sentence"), "raise": lambda: 1 / 0, "end": lambda: None}[word]()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(_SCRIPT))
    return path


@pytest.fixture
def server() -> Iterator[forkserver.ForkServer]:
    """A fork server of this test's own."""
    made = forkserver.ForkServer()
    yield made
    made.close()


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux")
@pytest.mark.parametrize("word", ["code", "words", "raise", "end"])
def test_a_forked_process_says_and_ends_as_a_started_one(script: Path, tmp_path: Path, word: str) -> None:
    variables = {"COLOUR": "red", "PATH": os.environ["PATH"]}
    started = subprocess.run(
        [sys.executable, str(script), word],
        cwd=tmp_path, env=variables, input="typed", capture_output=True, text=True, check=False,
    )  # fmt: skip
    forked = forkserver.run([str(script), word], cwd=tmp_path, environment=variables, typed="typed")
    assert forked.stdout == started.stdout == f"red None {tmp_path} typed\nleft\n"
    assert forked.returncode == started.returncode
    assert forked.stderr.splitlines()[-1] == started.stderr.splitlines()[-1]


def test_it_can_be_killed_stopped_and_signalled(server: forkserver.ForkServer, script: Path, tmp_path: Path) -> None:
    process = server.start([str(script), "stay"], (None, None, 2), tmp_path, dict(os.environ))
    assert process.stdout is not None
    pid, parent = map(int, process.stdout.readline().split())
    assert pid == process.pid
    assert parent != os.getpid()
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.2)
    assert psutil.Process(pid).status() == psutil.STATUS_STOPPED
    process.kill()
    assert process.wait(20) == -signal.SIGKILL
    process.kill()
    process.stdout.close()


def test_with_the_server_end_all_that_it_has_forked(
    server: forkserver.ForkServer, script: Path, tmp_path: Path
) -> None:
    process = server.start([str(script), "stay"], (None, None, 2), tmp_path, dict(os.environ))
    assert process.stdout is not None
    process.stdout.readline()
    server.close()
    assert process.wait(20) == -signal.SIGKILL
    process.stdout.close()


async def test_a_simulator_that_does_not_answer_is_ended(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path)
    simulator.process = Process("silent", ["-c", "import time; time.sleep(600)"], {}, tmp_path, anew=True)
    with pytest.raises(AssertionError, match="the simulator to answer"):
        await simulator.start(wait_s=0.3)
    assert not simulator.process.running


async def test_a_harness_whose_simulator_does_not_answer_stops_what_it_started(
    tmp_path: Path, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = BotHarness(tmp_path, servers=servers)
    # It ends at once: its port is in use by the harness's own Redis.
    stage.simulator = Simulator(tmp_path, options=("--port", str(servers.redis.port)))
    other = stage.process("other", ["-c", "import time; time.sleep(600)"], {})
    other._anew = True
    other.start()
    with pytest.raises(RuntimeError, match="the simulator ended"):
        await stage.open()
    assert not stage.simulator.process.running
    assert not other.running


def test_servers_of_which_one_does_not_start_leave_none_running(monkeypatch: pytest.MonkeyPatch) -> None:
    both = Servers()

    def fail() -> None:
        raise RuntimeError("no room for Redis")

    monkeypatch.setattr(both.redis, "start", fail)
    with pytest.raises(RuntimeError, match="no room"):
        both.start()
    assert both.postgres.pid is None
