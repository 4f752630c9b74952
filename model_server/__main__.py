"""Entry point: `python -m model_server`."""

import sys

from alpha import process
from alpha.config.loader import load
from alpha.errors import AlphaError
from alpha.logs import configure
from model_server.app import serve
from model_server.settings import ModelServerSettings


def main() -> int:
    """Run the model server; returns the exit code."""
    try:
        settings = load(ModelServerSettings)
        configure("model_server", settings)
    except AlphaError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    return process.run(lambda stop, pulse: serve(settings, stop, pulse))


if __name__ == "__main__":
    sys.exit(main())
