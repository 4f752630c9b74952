"""`alpha access-code`: the hash of an access code for the command centre."""

import getpass
import sys

import typer

from alpha.errors import Misconfigured
from operations.access_code import hash_code


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command("access-code")
    def access_code() -> None:
        """Ask for an access code and print the line for .env that holds its hash."""
        code = getpass.getpass("Access code: ") if sys.stdin.isatty() else sys.stdin.readline().strip()
        if len(code) < 6:
            raise Misconfigured("An access code has at least 6 characters. Choose a longer one.")
        if sys.stdin.isatty() and getpass.getpass("Once more: ") != code:
            raise Misconfigured("The two codes differ. Try again.")
        sys.stdout.write(f"C2_TELEGRAM_ACCESS_CODE_HASH={hash_code(code)}\n")
