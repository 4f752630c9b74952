"""`python -m telegram_manager`: the command centre as a service."""

import sys

if __name__ == "__main__":
    # imported here: the drawing process begins by importing this module, and needs none of it
    from alpha.process import run
    from telegram_manager.app import main

    sys.exit(run(main))
