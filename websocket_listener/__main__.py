"""Entry point: `python -m websocket_listener`."""

import sys

from alpha.entry_point import start
from websocket_listener.app import serve
from websocket_listener.settings import ListenerSettings


def main() -> int:
    """Run the listener; returns the exit code."""
    return start("websocket_listener", ListenerSettings, serve)


if __name__ == "__main__":
    sys.exit(main())
