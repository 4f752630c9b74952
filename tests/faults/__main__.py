"""The long form: `python -m tests.faults --rounds 200 [--seed N] [--first K] [--only K] [--outage S]`.

Prints the seed, a line a round with its recovery time, and what differed; exit code 1 when any promise was broken.
Round K of seed N is always the same faults with the same draws: `--seed N --only K` plays it again, in a fresh world,
and `--seed N --first 100 --rounds 50` plays rounds 100 to 149, so that a long run can be played in portions.
"""

import argparse
import asyncio
import random
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.faults.books import figures_differ, settle
from tests.faults.fault_env import FaultEnv
from tests.faults.rounds import FAULTS, RARE, Fault
from tests.faults.run import play


def troubles_of(draw: random.Random, number: int) -> tuple[Fault, ...]:
    """The faults of one round: one, or sometimes two at once; the rare and long ones every twentieth round."""
    if number % 20 == 19:
        return (draw.choice(RARE),)
    weights = [fault.weight for fault in FAULTS]
    first = draw.choices(FAULTS, weights)[0]
    if draw.random() < 0.75:
        return (first,)
    others = [fault for fault in FAULTS if fault.name.split()[0] != first.name.split()[0]]
    return (first, draw.choice(others))


async def main(numbers: range, seed: int, outage_s: float) -> int:
    """Run these rounds in one environment; returns the exit code."""
    if (me := asyncio.current_task()) is not None:
        # termination by a signal must not leave servers behind either
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)
    folder = Path(tempfile.mkdtemp(prefix="alpha-faults-"))
    arena = FaultEnv(folder, random.Random(seed), small_disk=True)
    arena.outage_s = outage_s
    broken = 0
    recoveries: list[float] = []
    print(f"seed {seed}, rounds {numbers.start} to {numbers.stop - 1}, logs in {folder}", flush=True)
    if arena.disk is None:
        print(f"PostgreSQL has no disk of its own, so a full one is an error that a trigger raises: {arena.no_disk}")
    try:
        await arena.open()
        for number in numbers:
            arena.draw.seed(seed * 100_003 + number)
            outcome = await play(arena, troubles_of(arena.draw, number))
            recoveries.append(outcome.recovery_s)
            print(
                f"{number:4d}  {outcome.name:<48} {outcome.executions:5d} orders  {outcome.altered:5d} altered  "
                f"recovered in {outcome.recovery_s:5.1f} s  {'/'.join(map(str, outcome.memory_mb.values()))} MB  "
                f"{'ok' if not outcome.faults else 'BROKEN'}",
                flush=True,
            )
            for fault in outcome.faults[:10]:
                print(f"      {fault}", flush=True)
            broken += bool(outcome.faults)
            if broken and not arena.listener_alive():
                break
        for fault in [*await settle(arena, 60.0, whole=True), *await figures_differ(arena)]:
            broken += 1
            print(f"      at the end, all books: {fault}", flush=True)
    finally:
        await arena.close()
    recoveries.sort()
    if recoveries:
        print(
            f"{len(recoveries)} rounds, {broken} broken; recovery median {recoveries[len(recoveries) // 2]:.1f} s, "
            f"longest {recoveries[-1]:.1f} s; replay one with --seed {seed} --only N"
        )
    for late in arena.late:
        print(f"late: {late}")
    if not broken:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if broken else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--first", type=int, default=0, help="the number of the first round")
    parser.add_argument("--only", type=int, default=None, help="play this round alone")
    parser.add_argument(
        "--outage", type=float, default=5.0, help="seconds PostgreSQL stays away after the buffer is full"
    )
    chosen = parser.parse_args()
    first, rounds = (chosen.first, chosen.rounds) if chosen.only is None else (chosen.only, 1)
    seed = secrets.randbelow(1_000_000) if chosen.seed is None else chosen.seed
    try:
        code = asyncio.run(main(range(first, first + rounds), seed, chosen.outage))
    except asyncio.CancelledError:
        code = 143
    sys.exit(code)
