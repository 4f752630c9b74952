"""Entry point of `make demo`."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from alpha.errors import AlphaError
from alpha.process import leave
from alpha.terminal import make_safe
from demo.run import run_demo
from demo.settings import DemoSettings

#: A bot with a model, on a market with an effect; `--with-model ordinary`: without one.
WITH_MODEL = "--with-model"


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
        # Disk full, folder not writable, program missing: the operating system's message says which.
        sys.stderr.write(f"The demo failed: {fault}. DEMO_STATE names the folder where its data is kept.\n")
        code = 1
    await leave(code)
    return code


def _usage() -> str:
    """Help text: one variable per line."""
    rows = [f"  {name.upper():<22}{field.description}" for name, field in DemoSettings.model_fields.items()]
    return "\n".join(["The demo is chosen by variables, as in DEMO_SECONDS=60 make demo:", *rows, ""])


def main() -> int:
    """Run the demo. Prints one sentence on a fault; returns the exit code."""
    make_safe()
    asked = sys.argv[1:]
    if asked[:1] == [WITH_MODEL] and asked[1:] in ([], ["planted"], ["ordinary"]):
        os.environ["DEMO_MODEL"] = asked[1] if asked[1:] else "planted"
        asked = []
    if asked:
        helped = asked[0] in {"-h", "--help"}
        (sys.stdout if helped else sys.stderr).write(
            _usage() if helped else f"The demo does not understand {asked[0]!r}.\n{_usage()}"
        )
        return 0 if helped else 2
    return asyncio.run(_main())


if __name__ == "__main__":
    sys.exit(main())
