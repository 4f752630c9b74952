"""Starts the demo's bot with a model."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bot_runner.main import run_bot

if __name__ == "__main__":
    sys.exit(run_bot("trend_001"))
