"""What the scripts of this folder share: where the exchange is, and one line of JSON per check."""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable

REST = os.environ.get("EXCHANGE_REST", "http://127.0.0.1:8900")
WS = os.environ.get("EXCHANGE_WS", "ws://127.0.0.1:8900")
KEY = os.environ.get("EXCHANGE_KEY", "client-key")
SECRET = os.environ.get("EXCHANGE_SECRET", "client-secret")
SPEED = float(os.environ.get("EXCHANGE_SPEED", "1"))
PATIENCE_S = 60.0


def report(name: str, passed: bool, reason: str = "") -> None:
    sys.stdout.write(json.dumps({"check": name, "passed": passed, "reason": reason}) + "\n")
    sys.stdout.flush()


def check(name: str, act: Callable[[], object]) -> bool:
    """Runs one check; it passes when it raises nothing."""
    try:
        act()
    except Exception as error:  # noqa: BLE001 (what went wrong is the reason that is printed)
        if os.environ.get("CLIENTS_VERBOSE"):
            traceback.print_exc()
        report(name, False, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        return False
    report(name, True)
    return True


def until(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Waits for a condition."""
    end = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {patience_s:.0f} s: {what}")
        time.sleep(0.05)
