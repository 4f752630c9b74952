"""The long form: `python -m tests.fence --rounds 1000 [--pairs 6] [--seed N]`.

Prints a line per hundred rounds and what was accepted of a fenced process; exit code 1 when anything was.
"""

import argparse
import asyncio
import random
import secrets
import signal
import sys
import tempfile
from pathlib import Path

from tests.fence.rounds import Tally
from tests.fence.world import play


def main() -> int:
    """Play; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fence")
    parser.add_argument("--rounds", type=int, default=1_000)
    parser.add_argument("--pairs", type=int, default=6, help="accounts at once, two instances each")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    options = parser.parse_args()
    sys.stdout.write(f"seed {options.seed}, {options.rounds} rounds\n")
    with tempfile.TemporaryDirectory(prefix="alpha-fence-") as folder:
        try:
            tally = asyncio.run(_play(Path(folder), options))
        except asyncio.CancelledError:
            return 143
    for order in tally.late:
        sys.stdout.write(f"ACCEPTED AFTER THE TAKEOVER: {order}\n")
    sys.stdout.write(f"{tally.rounds} rounds, {tally.orders} orders, {len(tally.late)} of a fenced process\n")
    return 1 if tally.late else 0


async def _play(folder: Path, options: argparse.Namespace) -> Tally:
    if (me := asyncio.current_task()) is not None:
        # Termination by a signal must not leave servers behind.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)
    return await play(folder, rounds=options.rounds, pairs=options.pairs, draw=random.Random(options.seed))


if __name__ == "__main__":
    sys.exit(main())
