"""Entry point of `make demo`."""

import asyncio
import signal
import sys
from pathlib import Path

from alpha.demo.run import run_demo
from alpha.errors import AlphaError
from alpha.process import leave


async def _main() -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        code = await run_demo(Path.cwd(), stop)
    except AlphaError as fault:
        sys.stderr.write(f"{fault}\n")
        code = fault.exit_code
    except OSError as fault:
        # The disk is full, a folder may not be written, a program is missing: the system's own words say which.
        sys.stderr.write(f"The demo cannot go on: {fault}. DEMO_STATE names the folder where its data is kept.\n")
        code = 1
    await leave(code)
    return code


def main() -> int:
    """Run the demo; one sentence on a fault, and a true exit code."""
    return asyncio.run(_main())


if __name__ == "__main__":
    sys.exit(main())
