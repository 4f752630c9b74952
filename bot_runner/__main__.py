"""`ALPHA_CONTAINER=NAME python -m bot_runner`: all bots of a shared container in one process.

Imported modules are few here: the process that strategy workers are forked from starts before everything else.
"""

import sys

from bot_runner.shared_main import main

if __name__ == "__main__":
    sys.exit(main())
