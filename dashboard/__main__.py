"""Entry point of the dashboard process."""

import sys

from alpha.config.loader import load
from alpha.errors import AlphaError
from alpha.process import run
from dashboard.app import main as dashboard
from dashboard.settings import DashboardSettings


def main() -> int:
    """Run the dashboard; one sentence per settings fault on stderr, and the exit code."""
    try:
        settings = load(DashboardSettings)
    except AlphaError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    return run(lambda stop, pulse: dashboard(settings, stop, pulse))


if __name__ == "__main__":
    sys.exit(main())
