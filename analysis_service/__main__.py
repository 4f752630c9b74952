"""Entry point: `python -m analysis_service`."""

import sys

from alpha.entry_point import start
from alpha.memory import few_heaps
from alpha.postgres.standby import single
from analysis_service.app import serve
from analysis_service.settings import AnalysisSettings


def main() -> int:
    """Run the service; returns the exit code."""
    few_heaps()
    return start("analysis_service", AnalysisSettings, serve, single)


if __name__ == "__main__":
    sys.exit(main())
