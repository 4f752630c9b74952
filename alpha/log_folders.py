"""Gives the log folders of a fresh host to the containers' user. Run once, as root, before the services start."""

import os
import sys
from pathlib import Path

SERVICE_USER = 10001


def hand_over(parent: Path) -> None:
    """Make every folder in `parent`, and what is in it, belong to the services' user."""
    for folder in sorted(parent.iterdir()):
        for path in (folder, *folder.iterdir()):
            os.chown(path, SERVICE_USER, SERVICE_USER, follow_symlinks=False)


def main() -> int:
    """Entry point: the argument is the folder that holds the log folders."""
    try:
        hand_over(Path(sys.argv[1]))
    except OSError as fault:
        sys.stderr.write(f"The log folders cannot be handed over: {fault.filename}: {fault.strerror}.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
