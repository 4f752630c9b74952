"""Entry point: `python -m model_server`."""

import sys

from alpha.entry_point import start
from model_server.app import serve
from model_server.settings import ModelServerSettings


def main() -> int:
    """Run the model server; returns the exit code."""
    return start("model_server", ModelServerSettings, serve)


if __name__ == "__main__":
    sys.exit(main())
