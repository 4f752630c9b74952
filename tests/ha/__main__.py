"""`make test-ha`: rounds of lost, paused and cut-off leaders on loopback. `--rounds 21 --seed 7 --only "redis leader killed"`."""

import argparse
import asyncio
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.ha.cluster import VENV, missing
from tests.ha.rounds import FAULTS, HaEnv, Outcome, play
from tests.ha.singletons import report

_PACKAGES = ("etcd-server", "haproxy")
_PATRONI = ("patroni[etcd3]==4.1.5", "psycopg[binary]==3.3.9")


def install() -> str:
    """Install what is missing where this user may; returns why it cannot be had, or nothing."""
    if (
        any(shutil.which(name) is None for name in ("etcd", "haproxy"))
        and os.geteuid() == 0
        and shutil.which("apt-get")
    ):
        _done("apt-get", "-o", "DPkg::Lock::Timeout=300", "install", "-y", "-qq", "--no-install-recommends", *_PACKAGES)
    if not VENV.exists():
        # As root PostgreSQL runs as another user, who must be able to start this Python.
        python = "/usr/bin/python3" if os.geteuid() == 0 and Path("/usr/bin/python3").exists() else sys.executable
        folder = VENV.parents[1]
        if not (
            _done(python, "-m", "venv", str(folder))
            and _done(str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *_PATRONI)
        ):
            shutil.rmtree(folder, ignore_errors=True)
    return missing()


def _done(*command: str) -> bool:
    """Run a command; on failure say its last words."""
    sys.stdout.write(f"{' '.join(command)} ...\n")
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
    except OSError as fault:
        sys.stdout.write(f"{fault}\n")
        return False
    if done.returncode:
        sys.stdout.write(f"{(done.stderr or done.stdout).strip()[-300:]}\n")
    return done.returncode == 0


async def _rounds(rounds: int, seed: int, only: list[str]) -> list[Outcome]:
    folder = Path(tempfile.mkdtemp(prefix="alpha-ha-"))
    env = HaEnv(folder, random.Random(seed))
    outcomes = []
    names = only or list(FAULTS)
    try:
        await env.begin()
        for number in range(rounds):
            outcome = await play(env, names[number % len(names)])
            outcomes.append(outcome)
            sys.stdout.write(
                f"{number + 1:3} {outcome.name:26} synced after {outcome.synced_s:5.1f} s, all trading after {outcome.again_s:5.1f} s, "
                f"longest time without a commit {outcome.gap_s:5.1f} s, taken over after {outcome.takeover_s:4.1f} s  "
                f"{'ok' if not outcome.faults else '; '.join(outcome.faults)[:400]}\n"
            )
            sys.stdout.flush()
    finally:
        await env.end()
        if any(outcome.faults for outcome in outcomes) or not outcomes:
            sys.stdout.write(f"what was said is kept in {folder}\n")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    seconds: dict[str, dict[str, list[float]]] = {}
    for outcome in outcomes:
        of_fault = seconds.setdefault(outcome.name, {})
        for what, value in (
            ("trading again", outcome.again_s),
            ("without a commit", outcome.gap_s),
            ("taken over", outcome.takeover_s),
        ):
            of_fault.setdefault(what, []).append(value)
    report(seconds)
    told = [fault for outcome in outcomes for fault in outcome.faults]
    counts = {
        kind: sum(kind in fault for fault in told) for kind in ("lost:", "doubled:", "are missing", "fenced order")
    }
    sys.stdout.write(
        f"{len(env.bots)} bots, {env.acknowledged} acknowledged rows, {env.sent.orders} orders by hand; fills lost {counts['lost:']}, "
        f"doubled {counts['doubled:']}, acknowledged rows missing {counts['are missing']}, orders by a fenced process "
        f"{counts['fenced order']}\n"
    )
    return outcomes


def main() -> int:
    """Play the rounds; exit code 1 when one has a fault."""
    parser = argparse.ArgumentParser(prog="make test-ha")
    parser.add_argument("--rounds", type=int, default=len(FAULTS), help="how many (default: each once)")
    parser.add_argument("--seed", type=int, default=random.randrange(100_000), help="printed")
    parser.add_argument("--only", action="append", default=[], choices=list(FAULTS), help="only this fault; repeatable")
    chosen = parser.parse_args()
    why = install()
    if why:
        sys.stdout.write(f"skipped: {why}\n")
        return 0
    sys.stdout.write(f"seed {chosen.seed}, {chosen.rounds} rounds\n")
    outcomes = asyncio.run(_rounds(chosen.rounds, chosen.seed, chosen.only))
    return 1 if any(outcome.faults for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
