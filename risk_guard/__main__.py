"""Entry point: `python -m risk_guard`."""

import sys

from alpha.entry_point import start
from risk_guard.app import serve
from risk_guard.settings import GuardSettings


def main() -> int:
    """Run the guard; returns the exit code."""
    return start("risk_guard", GuardSettings, serve)


if __name__ == "__main__":
    sys.exit(main())
