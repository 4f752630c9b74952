"""The long form: `python -m tests.faults --rounds 200 [--seed N] [--results FILE] [--first K] [--only K] [--outage S]`.

Prints the seed, a line a round with its recovery time, and what differed; exit code 1 when any promise was broken.
Round K of seed N is always the same faults with the same draws: `--seed N --only K` plays it again, in a fresh world,
and `--seed N --first 100 --rounds 50` plays rounds 100 to 149, so that a long run can be played in portions. With
`--results FILE` each round is kept at once: the same command goes on with the rounds that are missing or were broken.
Every `AFRESH` rounds, and after a broken one, all figures are compared and the world begins anew.
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
from tests.faults.results import Outcome, Results
from tests.faults.rounds import FAULTS, RARE, Fault
from tests.faults.run import play

#: So many rounds are played in one world: what it has stored makes the comparison of all figures dearer.
AFRESH = 50
#: Books that took longer to agree are told with what differed last.
_LONG_S = 5.0


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


async def main(numbers: range, results: Results, outage_s: float) -> int:
    """Play those of these rounds that `results` lacks; returns the exit code."""
    me, ended = asyncio.current_task(), asyncio.Event()
    assert me is not None

    def end() -> None:
        # what waits in a round may take the cancellation for its own: then the round is the last
        ended.set()
        me.cancel()

    # termination by a signal must not leave servers behind either
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
    left = results.open_of(numbers)
    print(f"seed {results.seed}, rounds {numbers.start} to {numbers.stop - 1}, {len(left)} to play", flush=True)
    try:
        while left and not ended.is_set():
            left = left[await _world(left[:AFRESH], results, outage_s, ended) :]
    finally:
        print(f"{results.summary()}; replay one with --seed {results.seed} --only N", flush=True)
    return 1 if any(results.by_number[number].faults for number in numbers) else 0


async def _world(numbers: list[int], results: Results, outage_s: float, ended: asyncio.Event) -> int:
    """Play these rounds in one environment until one breaks; returns how many were played."""
    folder = Path(tempfile.mkdtemp(prefix="alpha-faults-"))
    arena = FaultEnv(folder, random.Random(results.seed * 100_003 + numbers[0]), small_disk=True)
    arena.outage_s = outage_s
    print(f"logs in {folder}", flush=True)
    if arena.disk is None:
        print(f"PostgreSQL has no disk of its own, so a full one is an error that a trigger raises: {arena.no_disk}")
    outcome = None
    try:
        await arena.open()
        for played, number in enumerate(numbers, 1):
            arena.draw.seed(results.seed * 100_003 + number)
            troubles = troubles_of(arena.draw, number)
            try:
                outcome = await play(arena, troubles, number)
            except Exception as fault:  # noqa: BLE001 - the other rounds are played in a world of their own
                name = " + ".join(trouble.name for trouble in troubles)
                outcome = Outcome(number, name, -1.0, 0, 0, [f"the round itself failed: {fault!r}"], {}, {}, "")
            if played == len(numbers) or outcome.faults:
                outcome.faults.extend(f"{fault} (at the end of this world)" for fault in await _all_books(arena))
            results.add(outcome)
            _tell(outcome)
            if outcome.faults or ended.is_set():
                break
        return played
    finally:
        await arena.close()
        for late in arena.late:
            print(f"late: {late}", flush=True)
        if outcome is not None and not outcome.faults:
            shutil.rmtree(folder, ignore_errors=True)


async def _all_books(arena: FaultEnv) -> list[str]:
    if not arena.listener_alive():
        return []
    return [*await settle(arena, 60.0, whole=True), *await figures_differ(arena)]


def _tell(outcome: Outcome) -> None:
    parts = " ".join(f"{part} {seconds:.1f}" for part, seconds in outcome.took_s.items())
    print(
        f"{outcome.number:4d}  {outcome.name:<48} {outcome.executions:5d} orders  {outcome.altered:5d} altered  "
        f"recovered in {outcome.recovery_s:5.1f} s  {'/'.join(map(str, outcome.memory_mb.values()))} MB  "
        f"{outcome.seconds:5.1f} s ({parts})  {'ok' if not outcome.faults else 'BROKEN'}",
        flush=True,
    )
    if outcome.took_s.get("settle", 0.0) > _LONG_S and outcome.agreed_last:
        print(f"      agreed last: {outcome.agreed_last[:200]}", flush=True)
    for fault in outcome.faults[:10]:
        print(f"      {fault}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--results", type=Path, help="a file that keeps the outcomes; a later run goes on from it")
    parser.add_argument("--first", type=int, default=0, help="the number of the first round")
    parser.add_argument("--only", type=int, default=None, help="play this round alone")
    parser.add_argument(
        "--outage", type=float, default=5.0, help="seconds PostgreSQL stays away after the buffer is full"
    )
    chosen = parser.parse_args()
    first, rounds = (chosen.first, chosen.rounds) if chosen.only is None else (chosen.only, 1)
    seed = secrets.randbelow(1_000_000) if chosen.seed is None else chosen.seed
    try:
        code = asyncio.run(main(range(first, first + rounds), Results(chosen.results, seed), chosen.outage))
    except asyncio.CancelledError:
        code = 143
    sys.exit(code)
