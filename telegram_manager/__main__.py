"""`python -m telegram_manager`: the command centre as a service."""

import sys

from alpha.process import run
from telegram_manager.app import main

if __name__ == "__main__":
    sys.exit(run(main))
