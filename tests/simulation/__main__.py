"""`python -m tests.simulation --seeds 1000 [--first N] [--processes 2] [--results FILE]`, or `--seed N [--without 1,4] [--trace]` for one.

Prints each failing seed with the few disturbances that are enough for it, and how to play it again; exit code 1 when
anything broke. With `--results FILE` every hundred seeds are kept: the same command goes on after them, and plays again
those that broke.
"""

import argparse
import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.simulation.breaks import BREAKS, broken
from tests.simulation.results import Part, Results
from tests.simulation.run import Outcome, play, shorten
from tests.simulation.schedule import LONG_EVERY, disturbances
from tests.simulation.virtual_loop import unbind_clocks

_REPORT = 1_000
_FRESH_AFTER = 100


def main() -> int:
    """Play; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many at once")
    parser.add_argument("--results", type=Path, help="a file that keeps what was played; a later run goes on from it")
    parser.add_argument("--seed", type=int, default=None, help="play this one alone")
    parser.add_argument("--each", action="store_true", help="a line for each seed, whatever came of it")
    parser.add_argument("--without", default="", help="numbers of disturbances that are left out, by commas")
    parser.add_argument("--trace", action="store_true", help="print everything that happened in it")
    parser.add_argument(
        "--broken", choices=list(BREAKS), help="with this fault in the product, until an invariant breaks"
    )
    options = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # A set of texts has another order in each process: one seed must be one schedule.
        os.execve(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"})  # fmt: skip
    # What was killed in the middle complains when it is collected: nobody needs to hear that.
    sys.unraisablehook = lambda _: None
    unbind_clocks()
    gc.freeze()
    if options.broken is not None:
        return _play_broken(options.broken)
    if options.seed is not None:
        without = [int(text) for text in options.without.split(",") if text]
        outcome = play(options.seed, without=without, traced=options.trace)
        if options.trace:
            print("\n".join(outcome.trace))
        _tell(outcome)
        return 1 if outcome.breaches else 0
    results = Results(options.results)
    left = results.left(range(options.first, options.first + options.seeds))
    return _play_many(left, results, options.processes, each=options.each)


def _play_many(left: list[int], results: Results, processes: int, *, each: bool) -> int:
    """Play these seeds; returns the exit code."""
    began_s, part = time.monotonic(), Part()
    for number, outcome in enumerate(_outcomes(left, processes), 1):
        if outcome.breaches:
            _tell(shorten(outcome))
        elif each:
            _tell(outcome)
        part.add(outcome)
        if number % _FRESH_AFTER == 0 or number == len(left):
            results.keep(part)
            part = Part()
        if number % _REPORT == 0 or number == len(left):
            print(f"{results.total().text()}, {time.monotonic() - began_s:.0f} s", flush=True)
    return 1 if results.total().broken else 0


def _play_broken(name: str) -> int:
    says, _, schedules = BREAKS[name]
    with broken(name):
        for number, chosen in enumerate(schedules):
            outcome = play(number * LONG_EVERY, chosen=chosen)
            if any(says in text for text in outcome.breaches):
                _tell(outcome)
                return 1
    return 0


def _outcomes(seeds: list[int], processes: int) -> Iterator[Outcome]:
    if len(seeds) < _FRESH_AFTER:
        yield from map(play, seeds)
        return
    # A process that begins anew now and then needs no more memory after a hundred thousand seeds than after a hundred.
    with multiprocessing.get_context("fork").Pool(processes, maxtasksperchild=_FRESH_AFTER) as pool:
        yield from pool.imap(play, seeds)


def _tell(outcome: Outcome) -> None:
    left_out = {one.number for one in disturbances(outcome.seed)} - {one.number for one in outcome.disturbances}
    without = ",".join(map(str, sorted(left_out)))
    print(
        f"seed {outcome.seed}: {'BROKEN' if outcome.breaches else 'ok'}, {outcome.orders} orders, {outcome.steps} steps, "
        f"schedule {outcome.digest & 0xFFFFFFFFFFFF:012x}"
    )
    for one in outcome.disturbances:
        print(f"      {one}")
    for text in outcome.breaches:
        print(f"   -> {text}")
    if outcome.breaches:
        more = f" --without {without}" if without else ""
        print(f"   make simulate ARGS='--seed {outcome.seed}{more} --trace'", flush=True)


if __name__ == "__main__":
    sys.exit(main())
