"""Mutation testing of the pure modules: `make mutation ARGS='--only stop_policy'`.

cosmic-ray changes one operator, constant or branch at a time in a copy of the checkout and runs the module's own tests, in
a process that is forked with pytest imported. A mutant that no test notices has survived: it is printed with its place, and
the score is the share that was killed.
"""

import argparse
import contextlib
import os
import random
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from tests.support.forkserver import ForkServer
from tests.support.world import patience

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv" / "bin" / "python"
TOOL = ROOT / ".venv-mutation" / "bin"
#: Module to the tests that must notice a change of it, without fixtures of others where they need none: that is four times faster.
PURE = {
    "risk_guard/stop_policy.py": "--noconftest risk_guard/tests/test_stop_policy.py",
    "alpha/bybit/retry_policy.py": "--noconftest alpha/bybit/tests/test_retry_policy.py",
    "alpha/bybit/caps.py": "--noconftest alpha/bybit/tests/test_caps.py",
    "alpha/bybit/rate_limiter.py": "alpha/bybit/tests/test_rate_limiter.py",
    "alpha/model/sizing.py": "--noconftest alpha/model/tests/test_sizing.py",
    "alpha/model/order_link.py": "--noconftest alpha/model/tests/test_order_link.py",
    "trade_sync_service/domain/coverage.py": "--noconftest trade_sync_service/tests/test_coverage.py",
    "tests/history/reference.py": "--noconftest tests/history/test_reference.py",
    "operations/confirmations.py": "--noconftest operations/tests/test_confirmations.py",
}
CONFIG = """[cosmic-ray]
module-path = "{module}"
timeout = {timeout}
test-command = "{python} -I -S ask.py"
[cosmic-ray.distributor]
name = "local"
"""

#: What cosmic-ray runs for each mutant: it asks this process for a run of the tests and exits with their code.
ASK = """import socket, sys
link = socket.socket(socket.AF_UNIX)
link.connect("mutation.sock")
sys.exit(int(link.recv(16) or b"3"))
"""


class TestRuns:
    """Answers each connection with the exit code of a run of pytest in the copy."""

    def __init__(self, copy: Path, tests: str, limit_s: float) -> None:
        self._words = [
            *("-m", "pytest", "-q", "-x", "-n", "0", "--assert", "plain", "-p", "no:cacheprovider"),
            *("-m", "not containers and not long and not slow", *tests.split()),
        ]
        self._copy, self._limit_s = copy, limit_s
        self._server = ForkServer(copy)
        self._listening = socket.socket(socket.AF_UNIX)
        (copy / "mutation.sock").unlink(missing_ok=True)
        self._listening.bind(str(copy / "mutation.sock"))
        self._listening.listen()
        # The first request imports pytest, which no mutant's time may count.
        self._server.start(["-m", "pytest", "--version"], (None, 2, 2), copy, dict(os.environ)).wait()
        threading.Thread(target=self._answer, daemon=True).start()

    def close(self) -> None:
        """End the server."""
        self._listening.close()
        self._server.close()

    def _answer(self) -> None:
        while True:
            try:
                link, _ = self._listening.accept()
            except OSError:
                return
            with link, open(os.devnull, "wb") as nowhere:
                fd = nowhere.fileno()
                variables = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
                process = self._server.start(self._words, (None, fd, fd), self._copy, variables)
                try:
                    code = process.wait(self._limit_s * patience())
                except subprocess.TimeoutExpired:
                    process.kill()
                    code = 124
                with contextlib.suppress(OSError):
                    link.send(str(code).encode())


def _keep(session: Path, sample: int, seed: int) -> None:
    """Leave a sample of the mutants in the session, the same for the same seed."""
    with contextlib.closing(sqlite3.connect(session)) as database, database:
        order = "operator_name, operator_args, occurrence"
        jobs = [job for (job,) in database.execute(f"SELECT job_id FROM mutation_specs ORDER BY {order}")]
        kept = set(random.Random(seed).sample(jobs, min(sample, len(jobs))))
        for table in ("mutation_specs", "work_items"):
            others = [(job,) for job in jobs if job not in kept]
            database.executemany(f"DELETE FROM {table} WHERE job_id = ?", others)


def run(copy: Path, module: str, timeout_s: float, sample: int, seed: int) -> tuple[int, list[str]]:
    """Mutate one module in the copy, at `sample` places or (0) at all; returns how many mutants there were and the
    survivors as `line: change`.
    """
    config, session = copy / "mutation.toml", copy / "mutation.sqlite"
    session.unlink(missing_ok=True)
    config.write_text(CONFIG.format(module=module, python=PYTHON, timeout=timeout_s * 10), encoding="utf-8")
    (copy / "ask.py").write_text(ASK, encoding="utf-8")
    commands: tuple[tuple[str | Path, ...], ...] = (
        ("init", config, session),
        ("baseline", config),
        ("exec", config, session),
    )
    runs = TestRuns(copy, PURE[module], timeout_s)
    try:
        for words in commands:
            subprocess.run([TOOL / "cosmic-ray", *words], cwd=copy, check=True, stdout=subprocess.DEVNULL)
            if words[0] == "init" and sample:
                _keep(session, sample, seed)
    finally:
        runs.close()
    report = subprocess.run(
        [TOOL / "cr-report", "--surviving-only", "--show-diff", session],
        cwd=copy,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    counts = subprocess.run([TOOL / "cr-report", session], cwd=copy, check=True, capture_output=True, text=True).stdout
    mutants = sum(line.startswith("[job-id]") for line in counts.splitlines())
    return mutants, _survivors(report)


def _survivors(report: str) -> list[str]:
    found: list[str] = []
    place = ""
    for line in report.splitlines():
        if line.startswith("@@"):
            place = line.split()[1].split(",")[0].lstrip("-")
        elif line.startswith("+") and not line.startswith("+++"):
            found.append(f"near line {place}: {line[1:].strip()}")
    return found


def main() -> int:
    """Run the chosen modules; prints a line per module and each survivor."""
    parser = argparse.ArgumentParser(prog="make mutation", description="Mutation testing of the pure modules.")
    parser.add_argument("--only", default="", help="modules whose path holds this word")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds that the tests of one mutant may take")
    parser.add_argument("--sample", type=int, default=0, help="so many mutants of each module instead of all")
    parser.add_argument("--seed", type=int, default=1, help="which ones")
    words = parser.parse_args()
    chosen = [module for module in PURE if words.only in module]
    if not chosen:
        sys.stderr.write(f"No module's path holds {words.only!r}. The modules are: {', '.join(PURE)}.\n")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", str(copy)], input=archive, check=True)
        for module in chosen:
            mutants, survivors = run(copy, module, words.timeout, words.sample, words.seed)
            killed = mutants - len(survivors)
            sys.stdout.write(f"{module}: {killed} of {mutants} killed ({killed / max(1, mutants):.0%})\n")
            sys.stdout.writelines(f"    survived {line}\n" for line in survivors)
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
