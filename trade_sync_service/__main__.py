"""`python -m trade_sync_service` runs the service; with arguments, that command."""

import sys

from trade_sync_service.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["run"]))
