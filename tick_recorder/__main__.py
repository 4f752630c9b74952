"""Entry point: `python -m tick_recorder`."""

import sys

from alpha.entry_point import start
from alpha.postgres.standby import single
from tick_recorder.app import serve
from tick_recorder.settings import RecorderSettings


def main() -> int:
    """Run the recorder; returns the exit code."""
    return start("tick_recorder", RecorderSettings, serve, single)


if __name__ == "__main__":
    sys.exit(main())
