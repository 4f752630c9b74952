"""The README's commands on a clean machine: a fresh clone, an empty home, an empty package cache.

Prints the time to the first fill, with and without downloads. Run by `make newcomer`; it clones the committed state.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from exchange_simulator.tests.clients.process import running
from tests.newcomer.readme import ROOT
from tests.support.account_history import ARGUMENTS, make_history

CLONE = "git clone https://github.com/LiamX-Labs/Alpha.git && cd Alpha"
DEMO = "make demo"
ENDING = "DEMO_SECONDS=60 make demo"
STATUS = ".venv/bin/alpha --env-file .state/demo/alpha.env status"
PSQL = (
    """make psql ARGS='-c "SELECT * FROM trading.exit_reason_analysis"'""",
    """make psql ARGS='-c "SELECT bot_id, day, round(net, 2) AS net FROM trading.bot_daily_performance ORDER BY day"'""",
    """make psql ARGS='-c "SELECT symbol, closed_at, exit_reason, round(net, 2) AS net FROM trading.position_summaries LIMIT 5"'""",
    """make psql ARGS='-c "SELECT count(*) FROM trading.reconciliation_issues"'""",
)
SIMULATOR = "make simulator ARGS='--port 8900 --account KEY:SECRET:10000'"
BACKTEST = ".venv/bin/alpha backtest shortseller --data path/to/candles"
HELP = "make help"
COPY = "cp .env.example .env"
INIT = "make alpha && .venv/bin/alpha init"
OBSERVE = "make alpha && .venv/bin/alpha observe"
DOWNLOADED = ".venv/bin/alpha backtest shortseller --download --from 2026-06-01"
TYPED = {CLONE, DEMO, ENDING, STATUS, *PSQL, SIMULATOR, BACKTEST, HELP, COPY, INIT, OBSERVE, DOWNLOADED}

CANDLES = ROOT.parent / "shared" / "data" / "bybit-linear-5m"
#: Generous limit for slow machines and package indexes.
LIMIT_S = 900
pytestmark = [pytest.mark.long, pytest.mark.timeout(3 * LIMIT_S)]


class Bare:
    """A clean machine: its paths, and the commands a user types there."""

    def __init__(self, folder: Path) -> None:
        self.home, self.checkout = folder / "home", folder / "Alpha"
        self.home.mkdir()
        # Package index access is configured by the machine; everything else starts from scratch.
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
        self._environment = {
            **kept,
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PIP_CACHE_DIR": str(folder / "pip"),
        }

    def start(self, command: str, **more: str) -> "subprocess.Popen[str]":
        """Start a command; it leads its own process group, as in a terminal."""
        return subprocess.Popen(
            ["bash", "-c", command],
            cwd=self.checkout,
            env={**self._environment, **more},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def type(self, command: str, **more: str) -> str:
        """Run a command to its end; returns its output, fails on a nonzero exit code."""
        process = self.start(command, **more)
        said, _ = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, f"{command} ended with {process.returncode}:\n{said[-3000:]}"
        return said


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    machine = Bare(tmp_path_factory.mktemp("clean"))
    # The README's clone command, from this repository.
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(machine.checkout)], check=True)
    yield machine
    shutil.rmtree(machine.checkout, ignore_errors=True)


def until_a_fill(process: "subprocess.Popen[str]", began: float) -> float:
    """Seconds from `began` to the output line of the first fill."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if " fill " in line:
            return time.monotonic() - began
        assert time.monotonic() - began < LIMIT_S, "".join(said)
    raise AssertionError(f"It ended without a fill:\n{''.join(said)}")


def end(process: "subprocess.Popen[str]") -> str:
    """Send Ctrl-C to the whole group; returns the output since then."""
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=LIMIT_S)
    assert "The books agree" in said, said
    return said


def test_two_commands_bring_a_fill_on_a_machine_that_has_nothing(
    bare: Bare, capsys: pytest.CaptureFixture[str]
) -> None:
    took: Mapping[str, float] = {}
    for what in ("with downloads", "once more, on a fresh market"):
        began = time.monotonic()
        process = bare.start(DEMO, DEMO_SEED="7" if not took else "8")
        took = {**took, what: until_a_fill(process, began)}
        end(process)
    load = os.getloadavg()[0]
    with capsys.disabled():
        for what, seconds in took.items():
            print(f"\ntime to the first fill, {what}: {seconds:.0f} s (load {load:.1f} on {os.cpu_count()} cores)")
    assert not list((bare.home).rglob("*.env")), "nothing is written outside of the checkout"


def test_a_demo_of_a_minute_trades_and_its_last_line_is_the_check(
    bare: Bare, capsys: pytest.CaptureFixture[str]
) -> None:
    said = bare.type(ENDING)
    fills = sum(" fill " in line for line in said.splitlines())
    with capsys.disabled():
        # An idle two-core machine shows more than twenty; the number depends on the machine.
        print(f"\nfills within a minute: {fills} (load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)")
    assert fills > 0
    assert said.strip().splitlines()[-1].startswith("The books agree: ")


def test_questions_are_answered_after_the_demo(bare: Bare) -> None:
    for command in PSQL:
        assert re.search(r"\(\d+ rows?\)", bare.type(command)), command
    assert "demo" in bare.type(HELP)


def test_the_status_is_asked_from_another_terminal(bare: Bare) -> None:
    process = bare.start(DEMO)
    try:
        until_a_fill(process, time.monotonic())
        assert "shortseller" in bare.type(STATUS)
    finally:
        end(process)


def test_the_simulated_exchange_alone(bare: Bare) -> None:
    process = bare.start(SIMULATOR.replace("8900", "0"))
    assert process.stdout is not None
    said = ""
    try:
        while "http://127.0.0.1:" not in said:
            line = process.stdout.readline()
            assert line, f"It ended without an address:\n{said}"
            said += line
    finally:
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=LIMIT_S)
    # make dies from the signal it received; the exchange shuts down in order.
    assert "Traceback" not in said + rest


def test_the_example_of_settings_is_read_and_what_it_lacks_is_named(bare: Bare) -> None:
    bare.type(COPY)
    try:
        process = bare.start(".venv/bin/alpha doctor")
        said, _ = process.communicate(timeout=LIMIT_S)
    finally:
        (bare.checkout / ".env").unlink()
    assert process.returncode == 1, said
    assert "POSTGRES_PASSWORD" in said
    assert "Traceback" not in said


def test_init_makes_every_password_and_keeps_them_out_of_the_settings(bare: Bare) -> None:
    bare.type(f"{INIT} --yes")
    settings, secrets = bare.checkout / ".env", bare.checkout / "secrets"
    try:
        made = [file.read_text() for file in secrets.glob("*/*") if file.name.endswith("password")]
        assert made
        assert not [secret for secret in made if secret in settings.read_text()]
        assert not bare.type("git status --porcelain"), "what it makes is no part of the repository"
    finally:
        settings.unlink()
        shutil.rmtree(secrets)


def test_the_first_five_minutes_with_a_key_of_ones_own(
    bare: Bare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A year of an account's history, from a machine without packages to compared books and a back-test."""
    made = make_history(tmp_path / "exchange.db", days=365, orders_sent=3_000)
    (tmp_path / "key").write_text("reading-key\nreading-secret\n", encoding="utf-8")
    shutil.rmtree(bare.checkout / ".venv", ignore_errors=True)
    with running(*ARGUMENTS, "--data", str(tmp_path / "exchange.db")) as exchange:
        began = time.monotonic()
        said = bare.type(f"{OBSERVE} --key-file {tmp_path / 'key'} --exchange {exchange.rest_url} --once")
        observed_s = time.monotonic() - began
        tested = bare.type(
            f"{DOWNLOADED.replace('2026-06-01', '2025-11-01')} --symbols BTCUSDT",
            BYBIT_REST_URL=exchange.rest_url,
            BYBIT_WS_URL=exchange.ws_url,
        )
        whole_s = time.monotonic() - began
    with capsys.disabled():
        print(f"\nfive minutes: {observed_s:.0f} s to the books of a year ({made:,} executions), downloads of packages")
        print(f"included; {whole_s:.0f} s with a back-test on downloaded candles (load {os.getloadavg()[0]:.1f})")
    found = re.search(
        r"Your books since 2025-01-01: ([\d,]+) fills, ([\d,]+) funding payments,.* differences: 0\n", said
    )
    assert found is not None, said
    assert sum(int(number.replace(",", "")) for number in found.groups()) == made
    assert "Dashboard: http://127.0.0.1:" in said
    assert "trades" in tested
    assert whole_s < 300


@pytest.mark.skipif(not CANDLES.is_dir(), reason="the recorded candles are not beside this checkout")
def test_a_back_test(bare: Bare) -> None:
    assert "trades" in bare.type(BACKTEST.replace("path/to/candles", str(CANDLES)))
