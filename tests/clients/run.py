"""Runs the checks of every client at speed 1 and 60 and prints a table: passed, total, and why what did not pass.

    python -m tests.clients.run [--only NAME,...] [--speeds 1,60]

Exit code 0 when every check passed, 1 when one did not, 2 when the clients are not installed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-clients" / "bin" / "python"
CLIENTS = {
    "ccxt REST": ("check_ccxt", 300),
    "ccxt pro": ("check_ccxt_pro", 600),
    "pybit": ("check_pybit", 300),
    "nautilus": ("check_nautilus", 300),
    "freqtrade dry-run": ("check_freqtrade", 400),
    "freqtrade live": ("check_freqtrade", 600),
}


@contextmanager
def exchange(speed: str) -> Iterator[dict[str, str]]:
    """A simulated exchange at a speed, with prices of the present: clients compare candles with their own clock."""
    arguments = ["--port", "0", "--account", "client-key:client-secret:100000", "--seed", "7", "--spread-ticks", "1"]
    if speed != "1":
        begin = datetime.now(UTC) - timedelta(seconds=30)
        arguments += ["--speed", speed, "--start", begin.strftime("%Y-%m-%dT%H:%M")]
    process = subprocess.Popen(
        [sys.executable, "-m", "exchange_simulator", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        rest, ws = (process.stdout.readline().split()[-1] for _ in range(2))
        yield {"EXCHANGE_REST": rest, "EXCHANGE_WS": ws, "EXCHANGE_SPEED": speed}
    finally:
        process.terminate()
        process.wait(timeout=30)


def run(name: str, speed: str) -> list[dict[str, object]]:
    """The checks of one client at one speed."""
    script, most_s = CLIENTS[name]
    with exchange(speed) as where, tempfile.TemporaryFile("w+") as errors:
        environment = {**os.environ, **where, "CLIENT": name, "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1"}
        command = [str(PYTHON), "-m", f"tests.clients.{script}"]
        try:
            ended = subprocess.run(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=most_s
            )
            output, code = ended.stdout, ended.returncode
        except subprocess.TimeoutExpired as late:
            output, code = (late.stdout or b"").decode() if isinstance(late.stdout, bytes) else late.stdout or "", -1
        rows = [json.loads(line) for line in output.splitlines() if line.startswith('{"check"')]
        if code:
            errors.seek(0)
            said = errors.read().strip().splitlines()[-1:]
            why = f"not finished after {most_s} s" if code == -1 else f"ended with code {code}: {' '.join(said)[:300]}"
            rows.append({"check": "runs to its end", "passed": False, "reason": why})
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of clients, separated by commas")
    parser.add_argument("--speeds", default="1,60")
    found = parser.parse_args()
    if not PYTHON.exists():
        sys.stderr.write("The clients are not installed: run `make test-clients`.\n")
        return 2
    names = [name for name in CLIENTS if not found.only or name in found.only.split(",")]
    failed: list[str] = []
    print(f"{'client':<18} {'speed':>5} {'passed':>9} {'seconds':>8}")
    for name in names:
        for speed in found.speeds.split(","):
            begun = time.monotonic()
            rows = run(name, speed)
            passed = sum(bool(row["passed"]) for row in rows)
            print(f"{name:<18} {speed:>5} {passed:>4}/{len(rows):<4} {time.monotonic() - begun:>8.0f}", flush=True)
            for row in rows:
                if not row["passed"]:
                    failed.append(f"{name} at speed {speed}: {row['check']}: {row['reason']}")
                    print(f"    not passed: {row['check']}: {row['reason']}", flush=True)
            if not rows:
                failed.append(f"{name} at speed {speed}: nothing was checked")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
