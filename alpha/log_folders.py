"""Before the services start, once, as root: gives the log folders of a fresh host to the containers' user, looks at `.env`."""

import os
import sys
from pathlib import Path

from alpha.config import env_file
from alpha.errors import Misconfigured

SERVICE_USER = 10001


def hand_over(parent: Path) -> None:
    """Make every folder in `parent`, and what is in it, belong to the services' user."""
    for folder in sorted(parent.iterdir()):
        for path in (folder, *folder.iterdir()):
            os.chown(path, SERVICE_USER, SERVICE_USER, follow_symlinks=False)


def check_env(path: Path) -> int:
    """Say, line by line, what the containers and `alpha` would read differently; 1 when there is such a line."""
    try:
        said = env_file.sentences(path, env_file.read(path))
    except Misconfigured as fault:
        said = [str(fault)]
    for sentence in said:
        sys.stderr.write(f"{sentence.replace(f'{path.parent}/', '')}\n")
    return 1 if said else 0


def main() -> int:
    """Entry point: the arguments are the folder that holds the log folders, and the checkout with its `.env`.

    Ends with 1 when a folder cannot be handed over, or when `.env` has lines that not all who read it read alike.
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
