"""Entry point: `python -m websocket_listener`."""

import sys

from alpha import process
from alpha.config.loader import load
from alpha.errors import AlphaError
from alpha.logs import configure
from websocket_listener.app import serve
from websocket_listener.settings import ListenerSettings


def main() -> int:
    """Run the listener; returns the exit code."""
    try:
        settings = load(ListenerSettings)
        configure("websocket_listener", settings)
    except AlphaError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    return process.run(lambda stop, pulse: serve(settings, stop, pulse))


if __name__ == "__main__":
    sys.exit(main())
