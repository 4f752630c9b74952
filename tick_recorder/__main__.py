"""Entry point: `python -m tick_recorder`."""

import sys

from alpha import process
from alpha.config.loader import load
from alpha.errors import AlphaError
from alpha.logs import configure
from alpha.postgres.standby import single
from tick_recorder.app import serve
from tick_recorder.settings import RecorderSettings


def main() -> int:
    """Run the recorder; returns the exit code."""
    try:
        settings = load(RecorderSettings)
        configure("tick_recorder", settings)
    except AlphaError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    return process.run(single("tick_recorder", lambda stop, pulse: serve(settings, stop, pulse)))


if __name__ == "__main__":
    sys.exit(main())
