"""Runs Docker Compose with a checkout's production file, for the operator's commands."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from alpha.errors import Misconfigured

FILE = "docker-compose.production.yml"


class Compose:
    """`docker compose` in the checkout `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        if not (folder / FILE).is_file():
            raise Misconfigured(f"{folder / FILE} is missing: run this in the checkout, or name it with --folder.")

    def words(self, *arguments: str) -> list[str]:
        """The full command line, as a person would type it."""
        return ["docker", "compose", "-f", FILE, *arguments]

    def shown(self, *arguments: str) -> bool:
        """Run it with its output on the terminal; True on success."""
        return self._run(arguments, capture=False).returncode == 0

    def asked(self, *arguments: str) -> str | None:
        """Run it and return its output; None on failure."""
        done = self._run(arguments, capture=True)
        return done.stdout if done.returncode == 0 else None

    def _run(self, arguments: Sequence[str], *, capture: bool) -> "subprocess.CompletedProcess[str]":
        try:
            return subprocess.run(
                self.words(*arguments), cwd=self._folder, check=False, capture_output=capture, text=True
            )
        except FileNotFoundError:
            raise Misconfigured("The command 'docker' was not found. Install Docker Engine with Compose.") from None
