"""Starts LXAlgo. Run from the repository's root: python strategies/lxalgo/main.py"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bot_runner.main import run_bot

if __name__ == "__main__":
    sys.exit(run_bot("lxalgo_001"))
