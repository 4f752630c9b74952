"""Entry point: `python -m analysis_service`."""

import sys

from alpha import process
from alpha.config.loader import load
from alpha.errors import AlphaError
from alpha.logs import configure
from alpha.memory import few_heaps
from alpha.postgres.standby import single
from analysis_service.app import serve
from analysis_service.settings import AnalysisSettings


def main() -> int:
    """Run the service; returns the exit code."""
    few_heaps()
    try:
        settings = load(AnalysisSettings)
        configure("analysis_service", settings)
    except AlphaError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    return process.run(single("analysis_service", lambda stop, pulse: serve(settings, stop, pulse)))


if __name__ == "__main__":
    sys.exit(main())
