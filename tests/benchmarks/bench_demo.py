"""The demo's start, memory and processor time, an older checkout in turn with this one.

    python -m tests.benchmarks.bench_demo [--before CHECKOUT] [--runs 3] [--seconds 90]

Seconds from the start of the command to the first fill that the listener has stored, proportional set size of all its processes
(PSS: shared pages counted once) and their CPU when that many seconds have passed. Medians.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_TICK_S = os.sysconf("SC_CLK_TCK")
_FIRST_FILL = "SELECT extract(epoch FROM min(received_at)) FROM trading.fills"


@dataclass(frozen=True, slots=True)
class Run:
    """What one run took: seconds to the first fill, MB of all its processes, their CPU in seconds, how many there are."""

    first_fill_s: float
    memory_mb: float
    cpu_s: float
    processes: int


def processes_of(demo: int, folder: str) -> list[Path]:
    """The demo, its descendants, and whoever else was started for its folder: a server leaves its parent."""
    parents: dict[int, int] = {}
    of_folder: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if folder.encode() in (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes():
                    of_folder.add(int(entry.name))
    found = {demo, *of_folder}
    while more := {one for one, parent in parents.items() if parent in found} - found:
        found |= more
    return [Path("/proc", str(one)) for one in sorted(found)]


def pss_kb(process: Path) -> int:
    """Its proportional set size; 0 for one that has just ended."""
    with contextlib.suppress(OSError):
        for line in (process / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def cpu_s(process: Path) -> float:
    """Its user and system time."""
    with contextlib.suppress(OSError):
        return sum(map(int, (process / "stat").read_text().rpartition(")")[2].split()[11:13])) / _TICK_S
    return 0.0


async def run(checkout: Path, seconds: float) -> Run:
    """Start the demo of a checkout, look at it after so many seconds, and end it."""
    with tempfile.TemporaryDirectory(prefix="alpha-bench-demo-") as folder:
        environment = {**os.environ, "PYTHONPATH": str(checkout), "DEMO_STATE": folder, "DEMO_SEED": "1"}
        environment.pop("DEMO_SECONDS", None)
        began_s = time.time()
        demo = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "demo"),
            cwd=checkout,
            env=environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(seconds):
                raise SystemExit(f"The demo of {checkout} ended with {await demo.wait()}.")
        except TimeoutError:
            pass
        found = processes_of(demo.pid, folder)
        memory, spent = sum(map(pss_kb, found)) / 1024, sum(map(cpu_s, found))
        psql = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "demo.psql", "-Atc", _FIRST_FILL),
            cwd=checkout,
            env=environment,
            stdout=subprocess.PIPE,
        )
        answer = (await psql.communicate())[0].decode().strip()
        demo.send_signal(signal.SIGINT)
        await demo.wait()
        if not answer:
            raise SystemExit(f"The demo of {checkout} has no fill after {seconds:g} s.")
        return Run(float(answer) - began_s, memory, spent, len(found))


async def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="The demo's start, memory and CPU.")
    parser.add_argument("--before", type=Path, help="an older checkout to compare with")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=90.0)
    words = parser.parse_args()
    checkouts = [*([words.before.resolve()] if words.before else []), ROOT]
    taken: dict[Path, list[Run]] = {checkout: [] for checkout in checkouts}
    for _ in range(words.runs):
        for checkout in checkouts:
            taken[checkout].append(await run(checkout, words.seconds))
    print(
        f"| checkout | first fill, s | memory after {words.seconds:g} s, MB | CPU, s | processes |\n|---|---|---|---|---|"
    )
    for checkout in checkouts:
        name, runs = "now" if checkout == ROOT else "before", taken[checkout]
        of = [statistics.median(getattr(one, field) for one in runs) for field in Run.__slots__]
        print(f"| {name} | {of[0]:.1f} | {of[1]:.0f} | {of[2]:.1f} | {of[3]:.0f} |")


if __name__ == "__main__":
    asyncio.run(main())
