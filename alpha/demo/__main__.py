"""Entry point of `make demo`."""

import asyncio
import signal
import sys
from pathlib import Path

from alpha.demo.run import run_demo
from alpha.errors import AlphaError


async def _main() -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return await run_demo(Path.cwd(), stop)


def main() -> int:
    """Run the demo; one sentence on a fault, and a true exit code."""
    try:
        return asyncio.run(_main())
    except AlphaError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code


if __name__ == "__main__":
    sys.exit(main())
