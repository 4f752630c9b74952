"""`make demo` from the outside: real processes, from start to the check of the books."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[1]
CANDLES = ROOT.parent / "shared" / "data" / "bybit-linear-5m"
LIMIT_S = 100


class Demo:
    """One demo process with data of its own."""

    def __init__(self, state: Path, **variables: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DEMO_", "C2_"))}
        environment = {**inherited, "DEMO_STATE": str(state), **variables}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "alpha.demo"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def child(self, module: str) -> psutil.Process | None:
        """The process of a service or bot, once it runs."""
        for process in psutil.Process(self._process.pid).children():
            try:
                if any(module in word for word in process.cmdline()):
                    return process
            except psutil.NoSuchProcess:
                continue
        return None

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def finish(self) -> tuple[int, str]:
        """Exit code and all that it said."""
        output, _ = self._process.communicate(timeout=LIMIT_S)
        return self._process.returncode, output

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._process.communicate(timeout=60)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    started: list[Demo] = []

    def start(**variables: str) -> Demo:
        started.append(Demo(tmp_path / "state", **variables))
        return started[-1]

    yield start
    for each in started:
        each.end()


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"timed out waiting for {what}"
        time.sleep(0.05)


def executions(output: str) -> int:
    """The number in the last line, which must say that the books agree."""
    last = output.strip().splitlines()[-1]
    match = re.fullmatch(r"The books agree: (\d+) executions on the exchange, \1 in trading\.fills; \d+ open .*", last)
    assert match, output[-2000:]
    return int(match[1])


def test_the_demo_ends_by_itself_with_books_that_agree_and_keeps_its_data(demo: Callable[..., Demo]) -> None:
    code, output = demo(DEMO_SECONDS="12").finish()
    assert code == 0, output
    first = executions(output)
    assert first > 0
    code, output = demo(DEMO_SECONDS="3").finish()
    assert code == 0, output
    assert executions(output) >= first


def test_killing_the_listener_in_the_middle_loses_and_doubles_nothing(demo: Callable[..., Demo]) -> None:
    running = demo(DEMO_SECONDS="35")
    for _ in range(3):
        until(lambda: running.child("websocket_listener"), "the listener")
        victim = running.child("websocket_listener")
        assert victim is not None
        until(lambda v=victim: v.cpu_times().user > 1.0, "the listener to work")  # type: ignore[misc]
        victim.send_signal(signal.SIGKILL)
        until(lambda v=victim: not psutil.pid_exists(v.pid) or v.status() == "zombie", "its end")  # type: ignore[misc]
    code, output = running.finish()
    assert code == 0, output
    assert executions(output) > 0


def test_ctrl_c_ends_everything_in_order(demo: Callable[..., Demo]) -> None:
    running = demo()
    until(lambda: running.child("start_trading.py"), "a bot")
    running.send(signal.SIGINT)
    code, output = running.finish()
    assert code == 0, output
    executions(output)


@pytest.mark.skipif(not CANDLES.is_dir(), reason="the recorded candles are not beside this checkout")
def test_recorded_candles_are_traded_and_every_trade_is_named_with_its_reason(demo: Callable[..., Demo]) -> None:
    code, output = demo(DEMO_SECONDS="15", DEMO_REPLAY=str(CANDLES)).finish()
    assert code == 0, output
    assert executions(output) > 0
    trades = [line for line in output.splitlines() if "shortseller_001" in line and " fill " in line]
    assert trades
    reasons = "entry|take profit|stop loss|trailing stop|time limit|regime change|risk limit"
    assert all(re.search(rf"2025-0[4-7].*  ({reasons})", line) for line in trades), trades


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"DEMO_REPLAY": "/no/such/folder"}, "DEMO_REPLAY names /no/such/folder"),
        ({"DEMO_SECONDS": "soon"}, "DEMO_SECONDS is 'soon'"),
    ],
)
def test_a_wrong_setting_is_one_sentence(demo: Callable[..., Demo], variables: dict[str, str], named: str) -> None:
    code, output = demo(**variables).finish()
    assert code == 2
    assert named in output
    assert "Traceback" not in output


def test_a_port_in_use_is_named(demo: Callable[..., Demo]) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, output = demo(DEMO_EXCHANGE_PORT=str(port)).finish()
    assert code == 2
    assert f"Port {port} of 127.0.0.1 is in use" in output
    assert "DEMO_EXCHANGE_PORT" in output
