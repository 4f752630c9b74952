"""Entry point: `python -m tick_recorder`."""

import os
import sys

from alpha.entry_point import start
from alpha.postgres.standby import single
from tick_recorder.app import serve
from tick_recorder.settings import RecorderSettings

#: Added to its niceness. Its buffer can wait, a fill cannot: where both want a processor the listener and the bots go first.
YIELDS = 10


def main() -> int:
    """Run the recorder; returns the exit code."""
    # before the first thread: Linux keeps the niceness by thread, and one that begins later has its beginner's
    os.nice(YIELDS)
    return start("tick_recorder", RecorderSettings, serve, single)


if __name__ == "__main__":
    sys.exit(main())
