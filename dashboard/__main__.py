"""Entry point: `python -m dashboard`."""

import sys

from alpha.entry_point import start
from dashboard.app import serve
from dashboard.settings import DashboardSettings


def main() -> int:
    """Run the dashboard; returns the exit code."""
    return start("dashboard", DashboardSettings, serve)


if __name__ == "__main__":
    sys.exit(main())
