"""Entry point: `python -m api_server`."""

import sys

from alpha.entry_point import start
from api_server.app import serve
from api_server.settings import ApiSettings


def main() -> int:
    """Run the API; returns the exit code."""
    return start("api_server", ApiSettings, serve)


if __name__ == "__main__":
    sys.exit(main())
