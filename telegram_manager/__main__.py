"""`python -m telegram_manager`: run the command centre as a service."""

import sys

if __name__ == "__main__":
    # imported here: the chart process imports this module on startup and needs none of this
    from alpha.imports import without

    # The command line of the HTTP client would bring click, rich and a highlighter.
    with without("click"):
        import httpx  # noqa: F401
    from alpha.postgres.standby import single
    from alpha.process import run
    from telegram_manager.app import main

    sys.exit(run(single("telegram_manager", main)))
