"""Entry point of the guard's process."""

import sys

from alpha.config.loader import load
from alpha.errors import AlphaError
from alpha.process import run
from risk_guard.app import main as guard
from risk_guard.settings import GuardSettings


def main() -> int:
    """Run the guard. Prints one sentence per fault in the settings; the exit code tells whether it failed."""
    try:
        settings = load(GuardSettings)
    except AlphaError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    return run(lambda stop, pulse: guard(settings, stop, pulse))


if __name__ == "__main__":
    sys.exit(main())
