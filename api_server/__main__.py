"""Entry point of the API's process."""

import sys

from alpha.config.loader import load
from alpha.errors import AlphaError
from alpha.process import run
from api_server.app import serve
from api_server.settings import ApiSettings
from bot_control.no_control import NoControl


def main() -> int:
    """Run the API; one sentence per settings fault on stderr, and the exit code."""
    try:
        settings = load(ApiSettings)
    except AlphaError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    return run(lambda stop, pulse: serve(settings, NoControl(), stop, pulse))


if __name__ == "__main__":
    sys.exit(main())
