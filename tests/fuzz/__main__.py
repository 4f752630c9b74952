"""`make fuzz`: the targets at length. ARGS='--rounds 100000 --seed 7 env candles'."""

import argparse
import random
import secrets
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.targets import TARGETS


def main() -> int:
    """Run the targets that are named, or all; the seed is printed, and with it any round can be repeated."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Feed the borders with strange inputs.")
    parser.add_argument("targets", nargs="*", help=f"some of: {', '.join(TARGETS)}; all when left out")
    parser.add_argument("--rounds", type=int, default=20_000, help="rounds of each target")
    parser.add_argument("--seed", type=int, default=None, help="a number that makes the rounds the same again")
    words = parser.parse_args()
    if unknown := set(words.targets) - set(TARGETS):
        parser.error(f"there is no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    seed = secrets.randbelow(2**32) if words.seed is None else words.seed
    for name in words.targets or TARGETS:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            seen = TARGETS[name](random.Random(seed), words.rounds, Path(folder))
        print(f"{name}: {words.rounds} rounds, seed {seed}, {time.monotonic() - began:.0f} s: {seen}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
