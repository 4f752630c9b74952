"""Entry point of the container, and of `python main.py ...` in this folder."""

import os
import sys
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[1]


def main() -> int:
    """Find the repository root from wherever this file is run, then run the command."""
    if str(HOUSE) not in sys.path:
        sys.path.insert(0, str(HOUSE))
    if not Path("bots.toml").exists() and (HOUSE / "bots.toml").exists():
        os.chdir(HOUSE)  # settings and the list of bots are at the repository root
    from trade_sync_service.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
