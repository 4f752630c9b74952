"""`make fuzz`: the targets at length. ARGS='--rounds 100000 --seed 7 env candles'.

`telegram` and `dashboard` are fed by the fuzzers of their services, in processes of their own.
"""

import argparse
import random
import secrets
import sys
import tempfile
import time
from pathlib import Path

from dashboard.tests import fuzz as dashboard
from telegram_manager.tests import fuzz as telegram
from tests.fuzz.targets import TARGETS

#: Services whose fuzzers need stores: name -> how they are run.
SERVICES = {
    "telegram": lambda rounds, seed: telegram.main(["--updates", str(rounds), "--seed", str(seed)]),
    "dashboard": lambda rounds, seed: dashboard.main(["--queries", str(rounds), "--seed", str(seed)]),
}
NAMES = (*TARGETS, *SERVICES)


def main() -> int:
    """Run the targets that are named, or all; the seed is printed, and with it any round can be repeated."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Feed the borders with strange inputs.")
    parser.add_argument("targets", nargs="*", help=f"some of: {', '.join(NAMES)}; all when left out")
    parser.add_argument("--rounds", type=int, default=20_000, help="rounds of each target")
    parser.add_argument("--seed", type=int, default=None, help="a number that makes the rounds the same again")
    words = parser.parse_args()
    if unknown := set(words.targets) - set(NAMES):
        parser.error(f"there is no target {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    seed = secrets.randbelow(2**32) if words.seed is None else words.seed
    for name in words.targets or NAMES:
        if name in SERVICES:
            if code := SERVICES[name](words.rounds, seed):
                return code
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            seen = TARGETS[name](random.Random(seed), words.rounds, Path(folder))
        print(f"{name}: {words.rounds} rounds, seed {seed}, {time.monotonic() - began:.0f} s: {seen}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
