"""`python -m tests.parity --seeds 500 [--first N] [--bars 36] [--kills 8] [--processes 2]`: random strategies, live = back-test.

The bot runs in one process with the simulated exchange (`in_process.py`). With `--kills` it is killed so many times at
random points, and compared with itself unhurt. Prints each seed that differs and the command that plays it again, and
how often each kind of intent happened; exit code 1 when one differed.
"""

import argparse
import gc
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path

from backtester.result import Result
from tests.parity.in_process import Lived, live
from tests.parity.random_runs import Outcome, back, bots_file, market
from tests.simulation.virtual_loop import unbind_clocks

#: The share of seeds whose bot is not killed while it decides a bar or an order is on its way: they end as if nothing was.
_SPARED = 0.7
#: What has to happen over so many seeds.
_MANY = 20
KINDS = (
    *("filled: enter market", "filled: enter limit", "filled: enter trigger", "filled: part market"),
    *("filled: exit market", "filled: target limit one", "filled: target limit two", "filled: target limit late"),
    *("filled: level", "grew", "turned", "wanted: cancel entry", "wanted: move stop", "wanted: move target"),
    *("closed: break_even", "closed: take_profit", "closed: trailing_stop", "closed: stop_loss"),
    *("timeframes: 1", "timeframes: 2", "symbols: 3", "refused: a post-only order would have taken"),
)
_FRESH_AFTER = 25
_REPORT = 100


@dataclass(frozen=True, slots=True)
class Compared:
    """What a seed came to."""

    seed: int
    differences: list[str]
    happened: Counter[str]
    fills: int
    kills: int = 0
    deciding: int = 0


def play(seed: int, bars: int, kills: int) -> Compared:
    """One seed: live beside the back-test, and killed beside unhurt."""
    folder = Path(tempfile.mkdtemp(prefix="alpha-parity-"))
    try:
        candles, start = market(folder, seed)
        unhurt = live(candles, start, seed, bars)
        expected, result = back(candles, start, seed, bots_file(folder), bars=bars)
        found = [f"live: {text}" for text in unhurt.faults]
        found += [f"live and back-test: {text}" for text in differences(unhurt.outcome, expected)]
        happened = happenings(unhurt, result)
        hurt = None
        if kills:
            draw = random.Random(f"kills {seed}")
            moments = tuple(draw.sample(range(unhurt.joined, unhurt.steps), kills))
            hurt = live(candles, start, seed, bars, moments, spare_decisions=draw.random() < _SPARED)
            found += [f"killed: {text}" for text in hurt.faults]
            if not hurt.deciding:
                found += [f"killed and unhurt: {text}" for text in differences(hurt.outcome, unhurt.outcome)]
        fills = sum(map(len, expected.fills.values()))
        return Compared(seed, found, happened, fills, *((hurt.killed, hurt.deciding) if hurt else (0, 0)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def differences(found: Outcome, expected: Outcome) -> list[str]:
    """The first difference of each symbol, of the balance, and of what is open."""
    texts = []
    for symbol in sorted(found.fills.keys() | expected.fills.keys()):
        ours, theirs = found.fills.get(symbol, []), expected.fills.get(symbol, [])
        if ours != theirs:
            place = next((at for at, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
            place = min(len(ours), len(theirs)) if place is None else place
            texts.append(f"fill {place} of {symbol} is {ours[place : place + 1]}, not {theirs[place : place + 1]}")
    if found.wallet != expected.wallet:
        texts.append(f"the balance is {found.wallet}, not {expected.wallet}")
    if found.open != expected.open:
        texts.append(f"open is {found.open}, not {expected.open}")
    return texts


def happenings(lived: Lived, result: Result) -> Counter[str]:
    """How often each kind was wanted, sent, filled or refused."""
    happened = Counter({f"wanted: {kind}": count for kind, count in lived.wanted.items()})
    happened.update({f"sent: {kind}": count for kind, count in lived.sent.items()})
    happened.update({f"filled: {kind}": count for kind, count in lived.filled.items()})
    happened.update({f"refused: {why}": count for why, count in result.skipped.items()})
    happened.update(f"closed: {trade.reason.value}" for trade in result.trades)
    happened.update((f"timeframes: {lived.timeframes}", f"symbols: {len(lived.outcome.fills)}"))
    for fills in lived.outcome.fills.values():
        size, closed_ms, closed_sign = Decimal(0), -1, 0
        for side, qty, _, _, time_ms in fills:
            sign = 1 if side == "Buy" else -1
            happened["grew"] += size * sign > 0
            happened["turned"] += not size and closed_ms == time_ms and closed_sign == -sign
            if size and size + sign * qty == 0:
                closed_ms, closed_sign = time_ms, -sign
            size += sign * qty
    return happened


def main() -> int:
    """Play; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--bars", type=int, default=36, help="five-minute bars of each, 288 at most")
    parser.add_argument(
        "--kills", type=int, default=0, help="kill the bot so many times, and compare it with itself unhurt"
    )
    parser.add_argument("--processes", type=int, default=1, help="how many at once")
    chosen = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # A set of texts has another order in each process: one seed must be one schedule.
        os.execve(sys.executable, [sys.executable, "-m", "tests.parity", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"})  # fmt: skip
    # What was killed in the middle complains when it is collected: nobody needs to hear that.
    sys.unraisablehook = lambda _: None
    warnings.simplefilter("ignore", RuntimeWarning)
    unbind_clocks()
    gc.freeze()
    began_s, total, differed, fills, kills, deciding = time.monotonic(), Counter[str](), 0, 0, 0, 0
    with multiprocessing.get_context("fork").Pool(chosen.processes, maxtasksperchild=_FRESH_AFTER) as pool:
        seeds = range(chosen.first, chosen.first + chosen.seeds)
        plays = pool.imap(partial(play, bars=chosen.bars, kills=chosen.kills), seeds)
        for number, compared in enumerate(plays, 1):
            total += compared.happened
            fills, kills, deciding = fills + compared.fills, kills + compared.kills, deciding + compared.deciding
            if compared.differences:
                differed += 1
                print(f"seed {compared.seed} differs:")
                for text in compared.differences:
                    print(f"   {text}")
                print(
                    f"   python -m tests.parity --first {compared.seed} --seeds 1 --bars {chosen.bars} --kills {chosen.kills}"
                )
            if number % _REPORT == 0 or number == chosen.seeds:
                hurt = f", {kills} kills of which {deciding} in the middle of a decision or an order" if kills else ""
                print(
                    f"{number} seeds, {differed} differ, {fills} fills{hurt}, {time.monotonic() - began_s:.0f} s",
                    flush=True,
                )
    for name, count in sorted(total.items()):
        print(f"{count:7} {name}")
    never = [kind for kind in KINDS if not total[kind]] if chosen.seeds >= _MANY else []
    if never:
        print(f"never happened: {', '.join(never)}")
    return 1 if differed or never else 0


if __name__ == "__main__":
    sys.exit(main())
