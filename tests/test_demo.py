"""`make demo` from the outside: real processes, from start to the check of the books."""

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.recorded_ticks import write_candles_as_ticks

ROOT = Path(__file__).resolve().parents[1]
CANDLES = ROOT.parent / "shared" / "data" / "bybit-linear-5m"
#: However slow the machine: a start, the seconds asked for, an end and the check of the books.
LIMIT_S = 240
#: A demo that has not come to a point after this is stuck; a slow one has.
STUCK_S = 180
pytestmark = pytest.mark.timeout(900)


class Demo:
    """One demo process with data of its own."""

    def __init__(self, state: Path, **variables: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DEMO_", "C2_"))}
        environment = {**inherited, "DEMO_STATE": str(state), **variables}
        self._said: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "demo"],
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

    def read_until(self, wanted: re.Pattern[str]) -> None:
        """Read what it says until a line has what is wanted; its end or silence fails the test."""
        assert self._process.stdout is not None
        stuck = threading.Timer(STUCK_S, self._process.kill)
        stuck.start()
        for line in self._process.stdout:
            self._said.append(line)
            if wanted.search(line):
                break
        else:
            pytest.fail(f"It ended without {wanted.pattern!r}:\n{''.join(self._said)}")
        stuck.cancel()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def finish(self, limit_s: float = LIMIT_S) -> tuple[int, str]:
        """Exit code and all that it said."""
        output, _ = self._process.communicate(timeout=limit_s)
        return self._process.returncode, "".join(self._said) + output

    def end(self) -> None:
        if self.running:
            self._process.terminate()
            self._process.communicate(timeout=60)


class Terminal:
    """A demo in a terminal of its own, as a person has it."""

    def __init__(self, state: Path) -> None:
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.chdir(ROOT)
            os.environ.update(DEMO_STATE=str(state), TERM="xterm", COLUMNS="120", LINES="40")
            os.execv(sys.executable, [sys.executable, "-m", "demo"])
        self._seen = ""
        self._ended = False
        #: What it wrote after it had let go of the screen.
        self.text = ""

    def press(self, key: str) -> None:
        self._seen = ""
        os.write(self._fd, key.encode())

    def wait_for(self, text: str, limit_s: float = STUCK_S) -> None:
        """Until it has been drawn since the last key."""
        deadline = time.monotonic() + limit_s
        while text not in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self._seen):
            assert time.monotonic() < deadline, f"waited in vain for {text!r}:\n{self._seen[-3000:]}"
            ready, _, _ = select.select([self._fd], [], [], 1)
            if ready:
                self._seen += os.read(self._fd, 65_536).decode(errors="replace")

    def wait(self) -> int:
        self._ended = True
        # Its terminal stays open until it has let go of it: a closed one would end it.
        with contextlib.suppress(OSError):
            while said := os.read(self._fd, 65_536):
                self.text += said.decode(errors="replace")
        os.close(self._fd)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def end(self) -> None:
        if not self._ended:
            os.kill(self._pid, signal.SIGTERM)
            self.wait()


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


@pytest.mark.slow
def test_with_its_listener_killed_again_and_again_its_books_agree_at_its_end_and_the_data_is_kept(
    demo: Callable[..., Demo],
) -> None:
    running = demo()
    for _ in range(3):
        # What it says is read, so that it never waits for a reader; a fill shows that the listener was at work.
        running.read_until(re.compile(r" fill "))
        until(lambda: running.child("websocket_listener"), "the listener")
        victim = running.child("websocket_listener")
        assert victim is not None
        until(lambda v=victim: v.cpu_times().user > 1.0, "the listener to work")  # type: ignore[misc]
        victim.send_signal(signal.SIGKILL)
        victim.wait(LIMIT_S)
    running.read_until(re.compile(r" fill "))
    running.send(signal.SIGINT)
    code, output = running.finish()
    assert code == 0, output
    first = executions(output)
    assert first > 0
    code, output = demo(DEMO_SECONDS="3").finish()
    assert code == 0, output
    assert executions(output) >= first


@pytest.mark.slow
def test_ctrl_c_ends_everything_in_order(demo: Callable[..., Demo]) -> None:
    running = demo()
    until(lambda: running.child("start_trading.py"), "a bot")
    running.send(signal.SIGINT)
    code, output = running.finish()
    assert code == 0, output
    executions(output)


@pytest.mark.slow
@pytest.mark.skipif(not CANDLES.is_dir(), reason="the recorded candles are not beside this checkout")
def test_recorded_candles_are_traded_and_every_trade_is_named_with_its_reason(demo: Callable[..., Demo]) -> None:
    running = demo(DEMO_REPLAY=str(CANDLES))
    # However slow the machine: until a trade has begun and ended.
    running.read_until(re.compile(r"shortseller_001 +closed "))
    running.send(signal.SIGINT)
    code, output = running.finish()
    assert code == 0, output
    assert executions(output) > 1
    trades = [line for line in output.splitlines() if "shortseller_001" in line and " fill " in line]
    reasons = "entry|take profit|stop loss|trailing stop|time limit|regime change|risk limit"
    assert all(re.search(rf"2025-0[4-7].*  ({reasons})", line) for line in trades), trades
    signals = [line for line in output.splitlines() if " signal " in line]
    assert any("enter short: closed at" in line for line in signals), output


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.skipif(not CANDLES.is_dir(), reason="the recorded candles are not beside this checkout")
def test_recorded_ticks_are_traded_with_candles_as_the_history_before_them(
    demo: Callable[..., Demo], tmp_path: Path
) -> None:
    for symbol, tick in (("BTCUSDT", "0.1"), ("ETHUSDT", "0.01"), ("SOLUSDT", "0.01")):
        write_candles_as_ticks(CANDLES / f"{symbol}.csv.gz", tmp_path / "ticks", days=20, tick=tick)
    running = demo(DEMO_REPLAY=str(tmp_path / "ticks"), DEMO_HISTORY=str(CANDLES))
    running.read_until(re.compile(r"shortseller_001 +closed "))
    running.send(signal.SIGINT)
    code, output = running.finish()
    # the demo's end compares its books with the exchange's
    assert code == 0, output
    assert executions(output) > 1


@pytest.mark.slow
def test_keys_pause_a_bot_start_it_and_quit(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "state")
    try:
        terminal.wait_for("choose a bot")
        terminal.press("2")
        terminal.wait_for("> 2 lxalgo_001")
        terminal.press("p")
        terminal.wait_for("resume it")
        terminal.press("p")
        terminal.wait_for("pause it")
        terminal.press("q")
        terminal.wait_for("The books agree")
        assert terminal.wait() == 0
    finally:
        terminal.end()


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


@pytest.mark.parametrize(("word", "code"), [("--help", 0), ("60", 2)])
def test_words_after_the_demo_start_nothing_and_show_its_choices(word: str, code: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "demo", word],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert ended.returncode == code
    assert "DEMO_SECONDS" in ended.stdout + ended.stderr


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
