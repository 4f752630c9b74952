"""Runs once as root before the services: gives the log folders to the containers' user and checks `.env`."""

import os
import sys
from pathlib import Path

from alpha.config import env_file
from alpha.errors import Misconfigured

SERVICE_USER = 10001


def hand_over(parent: Path) -> None:
    """Make the services' user the owner of every folder in `parent` and its contents."""
    for folder in sorted(parent.iterdir()):
        for path in (folder, *folder.iterdir()):
            os.chown(path, SERVICE_USER, SERVICE_USER, follow_symlinks=False)


def check_env(path: Path) -> int:
    """Print each line that the containers and `alpha` would read differently; returns 1 when there is one."""
    try:
        said = env_file.sentences(path, env_file.read(path))
    except Misconfigured as fault:
        said = [str(fault)]
    for sentence in said:
        sys.stderr.write(f"{sentence.replace(f'{path.parent}/', '')}\n")
    return 1 if said else 0


def main() -> int:
    """Entry point: the arguments are the folder containing the log folders, and the checkout with its `.env`.

    Returns 1 when a folder's owner cannot be changed, or when `.env` has lines that its readers read differently.
    """
    wrong = 0
    if len(sys.argv) > 2:
        wrong = check_env(Path(sys.argv[2]) / ".env")
    try:
        hand_over(Path(sys.argv[1]))
    except OSError as fault:
        sys.stderr.write(f"The log folders cannot be handed over: {fault.filename}: {fault.strerror}.\n")
        return 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
